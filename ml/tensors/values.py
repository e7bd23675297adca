"""The rules by which a value may become an element of a tensor, and the messages when it may not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.signature import TensorSpec

Array = NDArray[Any]


class ValueIssue(ValueError):
    """A value does not fit; `index` is its place in the flat list, where one can be told."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.index = index


def array_from_values(values: list[Any], dtype: str, *, integral_floats: bool) -> Array:
    """A flat array of the KServe `dtype` from Python values as JSON or BSON gives them.

    Numbers go to any float type; whole numbers in range to integer types, with `integral_floats` 3.0 too; booleans
    only to BOOL, strings (and bytes) only to BYTES. Raises ValueIssue.
    """
    target = TensorSpec("", dtype, ()).numpy_dtype
    kinds = {plain(kind) for kind in set(map(type, values))}
    if dtype == "BYTES":
        _only(values, kinds, {str, bytes}, "a string")
        array = np.empty(len(values), object)
        array[:] = [value.encode() if isinstance(value, str) else bytes(value) for value in values]
        return array
    if dtype == "BOOL":
        _only(values, kinds, {bool}, "true or false")
        return np.array(values, bool)
    _only(values, kinds, {int, float}, "a number")
    if target.kind == "f":
        try:
            wide = np.array(values, "f8")
        except OverflowError:
            raise ValueIssue(f"a number is too large for {dtype}") from None
        return narrow(wide, dtype)
    if float in kinds:
        for index, value in enumerate(values):
            if type(value) is float and not (integral_floats and value.is_integer()):
                raise ValueIssue(f"expected a whole number for {dtype}, got {value!r}", index)
        values = [int(value) for value in values]
    limits = np.iinfo(target)
    for extreme in (min(values, default=0), max(values, default=0)):
        if not limits.min <= extreme <= limits.max:
            raise ValueIssue(f"expected {limits.min} to {limits.max} for {dtype}, got {extreme}", values.index(extreme))
    return np.array(values, target)


def cast_array(array: Array, dtype: str) -> Array:
    """An array of any dtype as one of the KServe `dtype`: int to float and between float widths yes, float to int no.

    Raises ValueIssue, also where a value does not fit the range or is not finite.
    """
    target = TensorSpec("", dtype, ()).numpy_dtype
    source = array.dtype
    if source.kind in "iu" and target.kind in "iu":
        limits = np.iinfo(target)
        if array.size and (int(array.min()) < limits.min or int(array.max()) > limits.max):
            raise ValueIssue(f"a value is outside {limits.min} to {limits.max} for {dtype}")
        return array.astype(target, copy=False)
    if source.kind in "iuf" and target.kind == "f":
        return narrow(array, dtype)
    if source.kind == target.kind and target.kind in "bO":
        return array.astype(target, copy=False)
    came = "BYTES" if source.kind in "OSU" else source.name.upper()
    raise ValueIssue(f"expected {dtype}, got {came}")


def narrow(array: Array, dtype: str) -> Array:
    """Numbers as floats of `dtype`, every one finite. Raises ValueIssue."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        index = int(np.flatnonzero(~np.isfinite(array.reshape(-1)))[0])
        raise ValueIssue(f"expected a finite number, got {_name(array.reshape(-1)[index])}", index)
    with np.errstate(over="ignore"):
        result = array.astype(TensorSpec("", dtype, ()).numpy_dtype, copy=False)
    if result.dtype.itemsize < array.dtype.itemsize and not np.isfinite(result).all():
        index = int(np.flatnonzero(~np.isfinite(result.reshape(-1)))[0])
        raise ValueIssue(f"{array.reshape(-1)[index]} is too large for {dtype}", index)
    return result


def _only(values: list[Any], kinds: set[type], allowed: set[type], expected: str) -> None:
    if kinds <= allowed:
        return
    index = next(i for i, value in enumerate(values) if plain(type(value)) not in allowed)
    raise ValueIssue(f"expected {expected}, got {describe(values[index])}", index)


def plain(kind: type) -> type:
    """int for the driver's Int64, bytes for its Binary; booleans stay booleans."""
    return next((plain for plain in (bool, int, bytes) if issubclass(kind, plain)), kind)


def describe(value: Any) -> str:
    """A value that came, for a message: its kind, and itself where that is short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "the string " + repr(value if len(value) <= 30 else value[:27] + "...")
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, float):
        return f"the number {_name(value)}"
    if isinstance(value, int):
        return f"the number {value}" if abs(value) < 10**30 else "a number of over 30 digits"
    return f"a {type(value).__name__}"


def _name(value: Any) -> str:
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return str(value)
