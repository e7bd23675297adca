"""What tells two requests with the same Idempotency-Key apart: a digest of all that the answer hangs on."""

from __future__ import annotations

import hashlib
from typing import Any

from flask import request

from api.auth.caller import current_caller
from api.predict_request import FORM, NPY
from api.requests import JSON

CHUNK = 1 << 20


def fingerprint() -> bytes:
    """The SHA-256 of this request's method, path, query, type, the kind of answer that it asks for, and its body.

    A body counts byte by byte; a form by its fields and the contents of its files, whatever their names, the order of
    the fields and the boundary between them. A body that is too large or ends early is refused here.
    """
    asked = request._get_current_object()  # type: ignore[attr-defined]
    npy = asked.accept_mimetypes.best_match([JSON, NPY]) == NPY
    digest = hashlib.sha256()
    for part in (
        asked.method,
        asked.path,
        asked.query_string,
        asked.mimetype,
        NPY if npy else JSON,
        "later" if _may_be_answered_later(asked.headers.get("Prefer", "")) else "now",
        # What an admin was shown is not another's to see who has the same owner.
        current_caller().role == "admin",
    ):
        _add(digest, part)
    if asked.mimetype == FORM:
        _add_form(digest, asked)
    else:
        _add(digest, asked.get_data())
    return digest.digest()


def _may_be_answered_later(prefer: str) -> bool:
    wishes = [wish.partition(";")[0].strip().lower() for wish in prefer.split(",")]
    return "respond-async" in wishes


def _add(digest: Any, part: str | bytes | bool) -> None:
    raw = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
    digest.update(len(raw).to_bytes(8, "little"))
    digest.update(raw)


def _add_form(digest: Any, asked: Any) -> None:
    for name in sorted(asked.form):
        for value in asked.form.getlist(name):
            _add(digest, "field")
            _add(digest, name)
            _add(digest, value)
    for name in sorted(asked.files):
        for file in asked.files.getlist(name):
            _add(digest, "file")
            _add(digest, name)
            _add(digest, _digest_of(file.stream))


def _digest_of(stream: Any) -> bytes:
    """The digest of a file, which is then read from its start by whoever comes next."""
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    stream.seek(0)
    return digest.digest()
