"""Values as TensorFlow Serving's JSON has them: which may become elements of a tensor, and how they are written."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from ml.tensors.values import Array, ValueIssue, array_from_values

#: TensorFlow's names of the element types: in metadata with DT_ before them, in messages in small letters.
TENSORFLOW_OF = {"FP16": "HALF", "FP32": "FLOAT", "FP64": "DOUBLE", "BYTES": "STRING"}

#: Whole numbers up to here are floats of the type without loss; a larger one that is written as a whole number is
#: refused (`IsLosslessDecimal` in its json_tensor.cc).
LARGEST_WHOLE = {"FP32": 2**24 - 1, "FP64": 2**53 - 1}

#: Outputs of strings whose names end so are bytes, written in base64.
BYTES_SUFFIX = "_bytes"

#: No float is so large.
_TOO_LARGE = 2**1024

_B64 = "b64"
_TYPES: dict[type, str] = {
    type(None): "Null",
    bool: "True",
    int: "Number",
    float: "Number",
    str: "String",
    list: "Array",
    dict: "Object",
}
_TOKENS = {"nan": b"NaN", "inf": b"Infinity", "-inf": b"-Infinity"}
_LONGEST_SHOWN = 100
_ENCODER = json.JSONEncoder()


def tensorflow_dtype(dtype: str) -> str:
    """TensorFlow's name for one of ours: `DT_FLOAT`."""
    return f"DT_{TENSORFLOW_OF.get(dtype, dtype)}"


def shown(value: Any) -> str:
    """A value that came, for a message, as JSON; the beginning where that is long."""
    text = ""
    for part in _ENCODER.iterencode(value):
        text += part
        if len(text) > _LONGEST_SHOWN:  # it may be megabytes
            return text[: _LONGEST_SHOWN - 3] + "..."
    return text


def json_type(value: Any) -> str:
    """The name of a JSON value's type in messages."""
    return "False" if value is False else _TYPES.get(type(value), "Object")


def is_b64(value: Any) -> bool:
    """Whether this is `{"b64": "..."}`, which is a string, and no object of names."""
    return type(value) is dict and len(value) == 1 and type(value.get(_B64)) is str


def from_b64(value: dict[str, str]) -> bytes:
    """The bytes of such an object; padding may be left out. Raises ValueIssue."""
    text = "".join(value[_B64].split())
    try:
        return base64.b64decode(text if text.endswith("=") else text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueIssue("Unable to base64 decode") from None


def with_bytes(value: Any, depth: int) -> Any:
    """A nested list with the bytes of each base64 object in its place; lists below `depth` are left as they are."""
    if is_b64(value):
        return from_b64(value)
    if type(value) is list and depth > 0:
        return [item if type(item) is str else with_bytes(item, depth - 1) for item in value]
    return value


def array_of(values: list[Any], dtype: str) -> Array:
    """A flat array of the KServe `dtype`. Raises ValueIssue, with the place of the value that does not fit.

    Otherwise than in the native protocol NaN and infinities are floats, 3.0 is no whole number, and a whole number that
    a float would round is none.
    """
    if dtype in ("BYTES", "BOOL"):
        _only(values, {str, bytes} if dtype == "BYTES" else {bool}, dtype)
        return array_from_values(values, dtype, integral_floats=False)
    if not dtype.startswith("FP"):
        _only(values, {int}, dtype)
        return array_from_values(values, dtype, integral_floats=False)
    _only(values, {int, float}, dtype)
    if int in set(map(type, values)) and (largest := LARGEST_WHOLE.get(dtype)):
        for index, value in enumerate(values):
            if type(value) is int and abs(value) > largest:
                raise _lossy(value, dtype, index)
    try:
        wide = np.array(values, "f8")
    except OverflowError:
        index = next(i for i, value in enumerate(values) if type(value) is int and abs(value) >= _TOO_LARGE)
        raise _lossy(values[index], dtype, index) from None
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = wide.astype({"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}[dtype])
    if (lost := np.isinf(narrow) & np.isfinite(wide)).any():
        index = int(np.flatnonzero(lost)[0])
        raise _lossy(values[index], dtype, index)
    return narrow


def _only(values: list[Any], allowed: set[type], dtype: str) -> None:
    if set(map(type, values)) <= allowed:
        return
    index, value = next((i, value) for i, value in enumerate(values) if type(value) not in allowed)
    expected = TENSORFLOW_OF.get(dtype, dtype).lower()
    text = f"JSON Value: {shown(value)} Type: {json_type(value)} is not of expected type: {expected}"
    raise ValueIssue(text, index)


def _lossy(value: Any, dtype: str, index: int) -> ValueIssue:
    target = TENSORFLOW_OF[dtype].lower()
    return ValueIssue(f"Cannot convert JSON value: {shown(value)} to {target} without loss of precision.", index)


def dump(array: Array, name: str) -> bytes:
    """A tensor as JSON, with NaN and the infinities as tokens; of shape (), a single value.

    Floats are written as the shortest number that reads back as the same one.
    """
    if array.dtype == object:
        encoded = name.endswith(BYTES_SUFFIX)
        return orjson.dumps(_strings(array.tolist(), encoded=encoded))
    whole = np.ascontiguousarray(array)  # which gives a single value an axis
    data = orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY)
    if array.ndim == 0:
        data = data[1:-1]
    if array.dtype.kind != "f" or b"null" not in data:
        return data
    tokens = _tokens(array)
    return re.sub(rb"null", lambda _: next(tokens), data)


def _tokens(array: Array) -> Iterator[bytes]:
    """What the numbers that are not finite are called, in order."""
    flat = array.reshape(-1)
    return (_TOKENS[str(value)] for value in flat[~np.isfinite(flat)].tolist())


def _strings(value: Any, *, encoded: bool) -> Any:
    if isinstance(value, list):
        return [_strings(item, encoded=encoded) for item in value]
    if isinstance(value, str):
        value = value.encode()
    return {_B64: base64.b64encode(value).decode()} if encoded else value.decode("utf-8", "replace")
