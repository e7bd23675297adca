"""JSON values cast to what a field's type stores, never guessed from what they look like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from bson import ObjectId

MAX_DEPTH = 12
INT64 = range(-(2**63), 2**63)


class CastError(ValueError):
    """A value that the field's type cannot hold."""


def cast(value: Any, kind: str) -> Any:
    """A JSON value as the field's type stores it; null stands for itself everywhere. Raises CastError."""
    if value is None:
        return None
    if isinstance(value, list) and kind != "any" and not any(isinstance(item, list) for item in value):
        return [cast(item, kind) for item in value]
    for one in kind.split("|"):
        try:
            return CASTS[one](value)
        except (TypeError, ValueError, OverflowError):
            continue
    if kind == "any":
        raise CastError("expected a value without operators, zero characters or numbers beyond 64 bits")
    raise CastError(f"expected {kind.replace('|', ' or ')}, got {kind_of(value)}{_shown(value)}")


def parse_time(text: str) -> datetime:
    """An ISO 8601 time; without an offset it is UTC. Raises ValueError."""
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _object_id(value: Any) -> ObjectId:
    if not isinstance(value, str) or len(value) != 24:
        raise TypeError
    try:
        return ObjectId(value)
    except Exception as error:  # bson's own class of error
        raise ValueError from error


def _time(value: Any) -> datetime:
    if not isinstance(value, str):
        raise TypeError
    return parse_time(value)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise TypeError
    if int(value) not in INT64:
        raise OverflowError
    return int(value)


def _number(value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    if isinstance(value, int) and value not in INT64:
        raise OverflowError
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _any(value: Any, depth: int = 0) -> Any:
    """Free form: nothing is cast, and nothing in it may be an operator."""
    if depth > MAX_DEPTH:
        raise ValueError
    if isinstance(value, dict):
        if any(key.startswith("$") or "\0" in key for key in value):
            raise ValueError
        return {key: _any(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_any(item, depth + 1) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and value not in INT64:
        raise OverflowError
    return value


CASTS: Mapping[str, Callable[[Any], Any]] = {
    "objectid": _object_id,
    "datetime": _time,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "any": _any,
}


def kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: Any) -> str:
    """The value itself, where it is one that fits into a message."""
    if isinstance(value, (dict, list)):
        return ""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    text = str(value) if number else orjson.dumps(value, default=str).decode()
    return " " + (text if len(text) <= 60 else text[:57] + "...")
