"""JSON as Almanac writes it: times with milliseconds, ids as hex, NaN and infinities as null."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from bson import Decimal128, ObjectId
from bson.binary import UUID_SUBTYPE, Binary
from flask import Flask, request
from flask.json.provider import JSONProvider

from ml.identity.redaction import redacted

MIME = "application/json"

_OPTIONS = (
    orjson.OPT_APPEND_NEWLINE
    | orjson.OPT_SERIALIZE_NUMPY
    | orjson.OPT_NON_STR_KEYS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def dumps(value: Any, *, pretty: bool = False) -> bytes:
    """A document, or anything made of what documents hold, as JSON that ends with a line feed."""
    return orjson.dumps(value, default=_default, option=_OPTIONS | (orjson.OPT_INDENT_2 if pretty else 0))


def loads(data: bytes | str) -> Any:
    """JSON as a client sent it. Raises ValueError; NaN, lone surrogates and deep nesting are refused."""
    return orjson.loads(data)


def time(value: datetime) -> str:
    """ISO 8601 in UTC with milliseconds."""
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return value.isoformat(timespec="milliseconds") + "Z"


def _default(value: Any) -> Any:
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, datetime):
        return time(value)
    if isinstance(value, np.ndarray):  # of objects, or not contiguous
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    plain: Any
    for plain in (dict, list, bool, int, str):  # subclasses, such as the driver's Int64
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, Binary) and value.subtype == UUID_SUBTYPE and len(value) == 16:
        return str(value.as_uuid())
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Decimal128):
        return str(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return f"<{type(value).__name__}>"  # what only another client can have stored


class JSONRenderer:
    """The renderer that Eve calls for every response of a resource."""

    mime = (MIME,)

    def render(self, data: Any) -> bytes:
        """Bytes for a response body; with `?pretty` indented."""
        body = dumps(data, pretty="pretty" in request.args)
        if isinstance(data, dict) and data.get("_status") == "ERR":  # what came is repeated in it
            return redacted(body.decode()).encode()
        return body


class Provider(JSONProvider):
    """The same for Flask's own jsonify and get_json."""

    def dumps(self, obj: Any, **_: Any) -> str:
        return dumps(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        return loads(s)


def register(app: Flask) -> None:
    """Make Flask read and write JSON as here."""
    app.json = Provider(app)
