"""An upload's form: the file, and what is said of it. What its name and type may be, since others are told of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from flask import request
from werkzeug.datastructures import FileStorage

from api.errors import ApiError
from api.render import dumps, loads
from api.requests import refuse_secrets

FORM = "multipart/form-data"
FIELDS = ("content", "filename", "metadata", "type")

#: What a file is called and of which type it is where nobody says.
UNNAMED, UNTYPED = "file", "application/octet-stream"
MOST_NAME, MOST_TYPE, MOST_METADATA = 255, 255, 64 * 1024

_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f/\\\ud800-\udfff]+")
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TYPE = re.compile(rf'{_WORD}/{_WORD}(?: *; *{_WORD}=(?:{_WORD}|"[ !#-\[\]-~]*"))*')


def read_form() -> tuple[FileStorage, dict[str, str]]:
    """The file that a form has, and what it says of it: `name`, `content_type` and `given`, as the store wants them."""
    form, files = request.form, request.files
    issues = {name: f"no such field; there are {', '.join(FIELDS)}" for name in (*form, *files) if name not in FIELDS}
    if len(files.getlist("content")) != 1:
        issues["content"] = f"expected one file, got {len(files.getlist('content'))}"
    texts: dict[str, str] = {}
    for name in FIELDS[1:]:
        # A client that sends JSON with its type sends it as a file.
        values: Sequence[Any] = [*form.getlist(name), *files.getlist(name)]
        if len(values) > 1:
            issues[name] = f"expected one value, got {len(values)}"
        elif values:
            texts[name] = values[0] if isinstance(values[0], str) else _text(values[0], name, issues)
    refuse_secrets(*texts.values())
    content = files.get("content")
    if issues or content is None:
        raise ApiError(422, "the file was not stored", issues)
    name = texts.get("filename") or content.filename or UNNAMED
    kind = texts.get("type") or content.content_type or UNTYPED
    refuse_secrets(name, kind)
    if len(name) > MOST_NAME or not _NAME.fullmatch(name) or name in (".", ".."):
        issues["filename"] = (
            f"expected 1 to {MOST_NAME} characters, none of which is / or \\ or a control character, got {name[:100]!r}"
        )
    if len(kind) > MOST_TYPE or not _TYPE.fullmatch(kind):
        issues["type"] = (
            f"expected a media type of at most {MOST_TYPE} characters, such as image/png, got {kind[:100]!r}"
        )
    given = _object(texts.get("metadata") or "{}", issues)
    if issues:
        raise ApiError(422, "the file was not stored", issues)
    return content, {"name": name, "content_type": kind, "given": given}


def _text(part: FileStorage, name: str, issues: dict[str, str]) -> str:
    try:
        return part.stream.read().decode()
    except UnicodeDecodeError:
        issues[name] = "expected a text, got bytes that are no UTF-8"
        return ""


def _object(text: str, issues: dict[str, str]) -> str:
    """An object as JSON, such as can be answered."""
    if len(text.encode()) > MOST_METADATA:
        issues["metadata"] = f"expected at most {MOST_METADATA} bytes"
        return ""
    try:
        value = loads(text)
        given = dumps(value).decode()  # what is nested too deeply is not answered either
    except (ValueError, TypeError) as error:
        issues["metadata"] = f"not JSON: {error}"
        return ""
    if not isinstance(value, dict):
        issues["metadata"] = f"expected an object, got {text[:100]}"
    return given
