"""Entries of the corpus made into requests.

An entry is `at` (method and path, below /api/v1/ where it does not begin with /), `code`, and where they matter: `as`
(the token, "" for none), `headers` (an object, or pairs where one comes twice), one of `json`, `text`, `hex` and
`parts` (of a form: name, content, file name), `type` (of the body), `environ` (what a server would say), `issue` (the
field that `_issues` must name) and `says` (what the answer must say). What is too long to be written down is an object
with one key: `!repeat` [what, times], `!nest` [levels, what is inside], `!objects` [levels, what is inside], `!npy`
[header, data in hex], `!png` [columns, rows, mode], `!bomb` [columns, rows] (a PNG whose header says so), `!hex`.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

from numpy.lib import format as npy
from PIL import Image
from werkzeug.datastructures import FileStorage, Headers, MultiDict
from werkzeug.test import EnvironBuilder

HERE = Path(__file__).parent
Entry = dict[str, Any]


def entries() -> list[Entry]:
    """Every entry of every file; `id` is the file's name and what the entry is called."""
    found = []
    for path in sorted(HERE.glob("*.json")):
        found += [{**entry, "id": f"{path.stem}: {entry['id']}"} for entry in json.loads(path.read_text())]
    return found


def builder(entry: Entry, key: str) -> EnvironBuilder:
    """The request that an entry means; `key` is the administrator's."""
    method, _, path = expanded(entry["at"]).partition(" ")
    token = entry.get("as", key)
    given = expanded(entry.get("headers", {}))
    headers = Headers([("Authorization", f"Bearer {token}")] if token else [])
    for name, value in given.items() if isinstance(given, dict) else given:
        headers.add(name, value)
    data, kind = _body(entry)
    return EnvironBuilder(
        path if path.startswith("/") else f"/api/v1/{path}",
        method=method,
        headers=headers,
        data=data,
        content_type=entry.get("type", kind),
        environ_overrides=expanded(entry.get("environ", {})),
    )


def _body(entry: Entry) -> tuple[Any, str | None]:
    if "json" in entry:
        return _json(entry["json"]).encode(), "application/json"
    if "text" in entry:
        return expanded(entry["text"]).encode(), "application/json"
    if "hex" in entry:
        return bytes.fromhex(entry["hex"]), "application/json"
    if "body" in entry:
        return expanded(entry["body"]), "application/json"
    if "parts" in entry:
        form: MultiDict[str, Any] = MultiDict()
        for name, content, *file in expanded(entry["parts"]):
            if file:
                data = content.encode() if isinstance(content, str) else content
                form.add(name, FileStorage(io.BytesIO(data), filename=file[0]))
            else:
                form.add(name, content)
        return form, "multipart/form-data"
    return None, None


def expanded(value: Any) -> Any:
    """A value with what stands for something long made into it."""
    if isinstance(value, list):
        return [expanded(item) for item in value]
    if not isinstance(value, dict):
        return value
    name = next(iter(value), "")
    if name.startswith("!"):
        return _MAKE[name](*value[name])
    return {key: expanded(item) for key, item in value.items()}


def _repeat(what: Any, times: int) -> Any:
    what = expanded(what)
    return what * times if isinstance(what, str) else [what] * times


def _json(value: Any) -> str:
    """JSON of any depth; Python's own writer would give up."""
    if isinstance(value, list):
        return f"[{','.join(map(_json, value))}]"
    if not isinstance(value, dict):
        return json.dumps(value)
    name = next(iter(value), "")
    if name in _AROUND:
        levels, inside = value[name]
        before, behind = _AROUND[name]
        return before * levels + _json(inside) + behind * levels
    if name == "!repeat" and not isinstance(value[name][0], str):
        what, times = value[name]
        return f"[{','.join([_json(what)] * times)}]"
    if name.startswith("!"):
        return json.dumps(expanded(value))
    return "{" + ",".join(f"{json.dumps(key)}:{_json(item)}" for key, item in value.items()) + "}"


#: What stands around each level.
_AROUND = {"!nest": ("[", "]"), "!objects": ('{"a":', "}")}


def _npy(header: str, data: str = "") -> bytes:
    stream = io.BytesIO()
    stream.write(npy.magic(1, 0))
    line = header.encode().ljust(117) + b"\n"
    stream.write(struct.pack("<H", len(line)) + line)
    return stream.getvalue() + bytes.fromhex(data)


def _png(columns: int, rows: int, mode: str = "L") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (columns, rows)).save(stream, "PNG")
    return stream.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bomb(columns: int, rows: int) -> bytes:
    header = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 99)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


_MAKE: dict[str, Any] = {
    "!repeat": _repeat,
    "!join": lambda *parts: "".join(expanded(part) for part in parts),
    "!npy": _npy,
    "!png": _png,
    "!cut": lambda what, length: expanded(what)[:length],
    "!bomb": _bomb,
    "!hex": lambda text: bytes.fromhex(text),
}
