"""Filters that clients write: MongoDB JSON with an allow list of operators, values cast by the field's type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson

from ml.database.casts import MAX_DEPTH, CastError, cast, kind_of

COMPARE = frozenset({"$eq", "$ne", "$gt", "$gte", "$lt", "$lte"})
MEMBERS = frozenset({"$in", "$nin", "$all"})
LOGICAL = frozenset({"$and", "$or", "$nor"})
OPERATORS = COMPARE | MEMBERS | LOGICAL | {"$exists", "$not", "$elemMatch", "$size", "$regex"}

MAX_REGEX = 100
#: Names in a path; MongoDB itself takes 200.
MAX_PATH = 50

T = TypeVar("T")

#: A field's path to its type: objectid, datetime, string, integer, number, boolean, any (free form, below it too) or
#: several joined by "|".
Fields = Mapping[str, str]


class FilterError(ValueError):
    """A filter that is not accepted; `where` says at which place in it."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}" if where else message)


def parse_filter(text: str | bytes, fields: Fields) -> dict[str, Any]:
    """The MongoDB filter that a client's JSON text means. Raises FilterError."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise FilterError("", f"not JSON ({error})") from None
    return check_filter(value, fields)


def check_filter(value: Any, fields: Fields) -> dict[str, Any]:
    """The same for JSON that was parsed already. The answer shares nothing with `value`."""
    if not isinstance(value, dict):
        raise FilterError("", f"expected an object, got {kind_of(value)}")
    return _conditions(value, fields, "", 0)


def names_field(condition: Any, field: str) -> bool:
    """Whether a filter speaks of this field, at any depth of $and, $or and $nor."""
    if isinstance(condition, list):
        return any(names_field(item, field) for item in condition)
    if not isinstance(condition, dict):
        return False
    return any(
        names_field(value, field) if key in LOGICAL else key == field or key.startswith(f"{field}.")
        for key, value in condition.items()
    )


def _conditions(value: Mapping[str, Any], fields: Fields, at: str, depth: int, base: str = "") -> dict[str, Any]:
    """An object of field: condition, or of $and, $or, $nor. `base` is the path that $elemMatch went into."""
    if depth > MAX_DEPTH:
        raise FilterError(at, f"nested more than {MAX_DEPTH} deep")
    result: dict[str, Any] = {}
    for key, condition in value.items():
        here = f"{at}.{key}" if at else key
        if key in LOGICAL:
            if not isinstance(condition, list) or not condition or not all(isinstance(c, dict) for c in condition):
                raise FilterError(here, "expected a list of one or more objects")
            result[key] = [_conditions(c, fields, f"{here}[{i}]", depth + 1, base) for i, c in enumerate(condition)]
            continue
        if key.startswith("$"):
            raise FilterError(here, f"the operator is not one of {', '.join(sorted(OPERATORS))}")
        kind = field_type(f"{base}.{key}" if base else key, fields)
        if kind is None:
            raise FilterError(here, f"no such field; there are {', '.join(sorted(fields))}")
        result[key] = _condition(condition, kind, fields, here, depth + 1, f"{base}.{key}" if base else key)
    return result


def _condition(value: Any, kind: str, fields: Fields, at: str, depth: int, path: str) -> Any:
    """What one field is held against: a value, or an object of operators."""
    if depth > MAX_DEPTH:
        raise FilterError(at, f"nested more than {MAX_DEPTH} deep")
    if not isinstance(value, dict) or not any(key.startswith("$") for key in value):
        return _cast(value, kind, at)
    result: dict[str, Any] = {}
    for operator, operand in value.items():
        here = f"{at}.{operator}"
        if operator in COMPARE:
            result[operator] = _cast(operand, kind, here)
        elif operator in MEMBERS:
            if not isinstance(operand, list):
                raise FilterError(here, f"expected a list, got {kind_of(operand)}")
            result[operator] = [_cast(item, kind, f"{here}[{i}]") for i, item in enumerate(operand)]
        elif operator == "$exists":
            result[operator] = _exactly(operand, bool, "true or false", here)
        elif operator == "$size":
            size = _exactly(operand, int, "a whole number", here)
            if not 0 <= size < 2**31:
                raise FilterError(here, "expected a number from 0 to 2147483647")
            result[operator] = size
        elif operator == "$regex":
            result[operator] = _regex(operand, kind, here)
        elif operator == "$not":
            if not isinstance(operand, dict) or not operand or not all(key.startswith("$") for key in operand):
                raise FilterError(here, "expected an object of operators")
            result[operator] = _condition(operand, kind, fields, here, depth + 1, path)
        elif operator == "$elemMatch":
            if not isinstance(operand, dict) or not operand:
                raise FilterError(here, "expected an object with one or more conditions")
            result[operator] = (
                _condition(operand, kind, fields, here, depth + 1, path)
                if all(key.startswith("$") and key not in LOGICAL for key in operand)
                else _conditions(operand, fields, here, depth + 1, path)
            )
        else:
            raise FilterError(here, f"the operator is not one of {', '.join(sorted(OPERATORS))}")
    return result


def field_type(path: str, fields: Fields) -> str | None:
    """The type of a field, or of what lies below a free-form one; None where the resource has no such field."""
    if path in fields:
        return fields[path]
    parts = path.split(".")
    if len(parts) > MAX_PATH or any(not part or part.startswith("$") or "\0" in part for part in parts):
        return None
    head = path
    while "." in head:
        head = head.rpartition(".")[0]
        if "any" in fields.get(head, ""):
            return "any"
    return None


def _regex(value: Any, kind: str, at: str) -> str:
    pattern = _exactly(value, str, "a string", at)
    if "string" not in kind and "any" not in kind:
        raise FilterError(at, f"the field is {kind}, not a string")
    if len(pattern) > MAX_REGEX or not pattern.startswith("^"):
        raise FilterError(at, f"expected a pattern that begins with ^ and has at most {MAX_REGEX} characters")
    if "\0" in pattern:
        raise FilterError(at, "a pattern may not hold a zero character")
    return pattern


def _cast(value: Any, kind: str, at: str) -> Any:
    try:
        return cast(value, kind)
    except CastError as error:
        raise FilterError(at, str(error)) from None


def _exactly(value: Any, kind: type[T], name: str, at: str) -> T:
    if type(value) is not kind:
        raise FilterError(at, f"expected {name}, got {kind_of(value)}")
    return value
