"""The look at an uploaded .keras file that Keras does not get to see unless it passes: its archive and its metadata."""

from __future__ import annotations

import io
import json
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from ml.build.config_check import check_config
from ml.build.report import BuildError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MAX_CONFIG_BYTES = 16 * 2**20
MAX_METADATA_BYTES = 2**16
#: The zip's own table of members, about 50 bytes and a name for each.
MAX_DIRECTORY_BYTES = 2**20
#: Keras stores its members uncompressed, and itself refuses to extract more than 100:1 over 256 MiB.
MAX_RATIO, RATIO_FLOOR_BYTES = 100, 2**28
MAX_DEPTH = 200
#: A config of 16 MB made of empty lists would be several hundred MB of Python objects.
MAX_CONTAINERS = 500_000

# Vocabularies are the only assets that layers of Keras write.
_ASSET = re.compile(r"assets/(?:[^/\x00-\x1f]+/)*(?:[^/\x00-\x1f]+\.txt)?")
_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


def check_archive(file: Path, max_expanded_mb: int = 4096) -> None:
    """Pass a file that holds nothing but a model made of Keras's own parts; raise BuildError for any other.

    Memory is bounded whatever the file holds: sizes are checked as declared before anything is read, and zipfile
    stops reading a member at its declared size.
    """
    with _Bounded(file) as raw:
        start = raw.read(8)
        if start == b"\x89HDF\r\n\x1a\n":
            raise BuildError("not a .keras file but HDF5: load it with Keras and save it again as .keras")
        try:
            with zipfile.ZipFile(raw) as archive:
                _check_members(archive, file.stat().st_size, max_expanded_mb)
                metadata = _read(archive, METADATA, MAX_METADATA_BYTES)
                config = _read(archive, CONFIG, MAX_CONFIG_BYTES)
        except zipfile.BadZipFile as error:
            raise BuildError(f"not a .keras file, or cut off: it cannot be read as a zip archive ({error})") from error
        except (NotImplementedError, RuntimeError, OSError, EOFError, ValueError, struct.error, zlib.error) as error:
            # zipfile's other ways of saying that a header or a member makes no sense.
            raise BuildError(f"not a .keras file: its zip archive is malformed ({error})") from error
    _check_metadata(_parse(metadata, METADATA))
    check_config(_parse(config, CONFIG))


class _Bounded(io.FileIO):
    """A file that refuses to be read in large pieces, as zipfile reads the table of members: a header says its size."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = MAX_DIRECTORY_BYTES + 1
        if size > MAX_DIRECTORY_BYTES + 1:
            raise BuildError("not a .keras file: its zip archive lists far too many members")
        return super().read(size) or b""


def _check_members(archive: zipfile.ZipFile, file_size: int, max_expanded_mb: int) -> None:
    members = archive.infolist()
    seen: set[str] = set()
    for member in members:
        name = member.filename
        _check_name(member)
        if name in seen:
            raise BuildError(f"the archive holds two members named {name!r}")
        seen.add(name)
        if name not in (CONFIG, METADATA, WEIGHTS) and not _ASSET.fullmatch(name):
            raise BuildError(f"the archive holds {name!r}, which is no part of a .keras file")
        if member.flag_bits & 0x41:
            raise BuildError(f"the archive's member {name!r} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BuildError(f"the archive's member {name!r} is compressed in a way that Keras does not use")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise BuildError(f"the archive's member {name!r} is a link or special file")
        if member.file_size > RATIO_FLOOR_BYTES and member.file_size > MAX_RATIO * member.compress_size:
            raise BuildError(f"the archive's member {name!r} expands more than {MAX_RATIO} times")
    expanded = sum(member.file_size for member in members)
    if expanded > max_expanded_mb * 2**20:
        raise BuildError(f"the archive expands to {expanded / 2**20:,.0f} MB; {max_expanded_mb:,} MB are allowed")
    if sum(member.compress_size for member in members) > file_size:
        raise BuildError("the archive's members overlap")
    for name in (METADATA, CONFIG, WEIGHTS):
        if name not in seen:
            raise BuildError(f"not a .keras file: the archive holds no {name}")


def _check_name(member: zipfile.ZipInfo) -> None:
    name = member.filename
    plain = not name.startswith("/") and "\\" not in name and ":" not in name and name == member.orig_filename
    if not plain or any(part in ("..", ".") for part in name.split("/")):
        raise BuildError(f"the archive's member {member.orig_filename!r} has a path that leads out of the archive")


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    if archive.getinfo(name).file_size > limit:
        raise BuildError(f"{name} is larger than {limit // 2**10:,} kB")
    parts = []
    with archive.open(name) as member:
        while part := member.read(2**16):
            parts.append(part)
    return b"".join(parts)


def _parse(data: bytes, name: str) -> Any:
    """The JSON in `data`, read as Keras reads it, after a look at its depth: the parser recurses."""
    try:
        text = data.decode()
        depth = containers = 0
        for match in _BRACKET.finditer(text):
            if match[0] in "[{":
                depth, containers = depth + 1, containers + 1
            elif match[0] in "]}":
                depth -= 1
            if depth > MAX_DEPTH:
                raise BuildError(f"{name} is nested more than {MAX_DEPTH} levels deep")
            if containers > MAX_CONTAINERS:
                raise BuildError(f"{name} holds more than {MAX_CONTAINERS:,} objects")
        return json.loads(text)
    except UnicodeDecodeError as error:
        raise BuildError(f"{name} is not valid JSON (it is no text in UTF-8)") from error
    except ValueError as error:
        if not isinstance(error, json.JSONDecodeError):
            raise BuildError(f"{name} is not valid JSON (it holds a number of thousands of digits)") from error
        raise BuildError(f"{name} is not valid JSON ({error})") from error


def _check_metadata(metadata: Any) -> None:
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    if not isinstance(version, str) or not re.fullmatch(r"\d{1,4}(\.\w{1,20}){0,8}", version):
        raise BuildError(f"{METADATA} does not say which version of Keras saved the model")
    major = int(version.split(".")[0])
    if major < 3:
        raise BuildError(f"the model was saved with Keras {version}: load it with Keras 3 and save it again")
    if major > 3:
        raise BuildError(f"the model was saved with Keras {version}, which is newer than this server's Keras 3")
