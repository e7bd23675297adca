"""Tensors as documents hold them: nested arrays, or {dtype, shape, data} with the bytes in row-major order."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from bson.binary import VECTOR_SUBTYPE, Binary, BinaryVectorDtype

from ml.signature import KSERVE_OF, TensorSpec, kserve_dtype, numpy_dtype
from ml.tensors.issues import TensorIssues
from ml.tensors.nesting import Ragged, flatten, infer_shape
from ml.tensors.raw import little_endian, pack_bytes, unpack_bytes
from ml.tensors.values import Array, ValueIssue, array_from_values, cast_array, describe, plain

#: Up to this many values a tensor is stored as nested arrays, which people can read; more are packed.
MOST_AS_ARRAYS = 64

#: Axes that a tensor may have; numpy itself takes 64.
MOST_AXES = 32

PACKED = frozenset({"dtype", "shape", "data"})


def to_stored(array: Array) -> Any:
    """A tensor (one row, no batch axis) in the form in which it is stored."""
    if array.size <= MOST_AS_ARRAYS and not _beyond_bson(array):
        return _text(array.tolist()) if array.dtype == object else array.tolist()
    return {
        "dtype": KSERVE_OF[array.dtype.name],
        "shape": list(array.shape),
        "data": Binary(pack_bytes(array) if array.dtype == object else little_endian(array).tobytes()),
    }


def to_stored_rows(batch: Array) -> list[Any]:
    """Every row of a batch (first axis the rows) as `to_stored` gives it, made at once where that can be."""
    rows = len(batch)
    if not rows or batch.dtype == object or _beyond_bson(batch):
        return [to_stored(np.asarray(row, batch.dtype)) for row in batch]
    if batch.size // rows <= MOST_AS_ARRAYS:
        stored: list[Any] = batch.tolist()
        return stored
    dtype, shape = KSERVE_OF[batch.dtype.name], list(batch.shape[1:])
    data = little_endian(batch).tobytes()
    size = len(data) // rows
    return [{"dtype": dtype, "shape": shape, "data": Binary(data[at : at + size])} for at in range(0, len(data), size)]


def is_packed(value: Any) -> bool:
    """Whether a stored value is a packed tensor, rather than tensors by input name."""
    return isinstance(value, Mapping) and value.keys() == PACKED


def _beyond_bson(array: Array) -> bool:
    """Whether a number is in it that BSON's integers, of 64 bits with a sign, do not hold."""
    return bool(array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max)


def outline(value: Any, more_than: int) -> dict[str, Any] | None:
    """{dtype, shape} of a stored tensor of more than so many values; None for a smaller one. Raises TensorIssues."""
    try:
        shape = _shape(value["shape"]) if is_packed(value) else infer_shape(value)
        if math.prod(shape) <= more_than:
            return None
        dtype = _dtype(value["dtype"]) if is_packed(value) else _dtype_of(flatten(value, shape)[0])
        return {"dtype": dtype, "shape": list(shape)}
    except (Ragged, ValueIssue) as error:
        raise TensorIssues({"data": str(error)}) from None


def from_stored(value: Any, spec: TensorSpec | None = None, place: str = "data") -> Array:
    """The tensor that a stored value means; with `spec`, in its dtype and of a shape that fits it.

    Raises TensorIssues, also for what other programs wrote wrongly.
    """
    try:
        if is_packed(value):
            array = _unpack(value)
            if spec is not None and not spec.fits(array.shape):
                raise ValueIssue(f"expected {spec}, got shape {list(array.shape)}")
            return array if spec is None else cast_array(array, spec.dtype)
        if isinstance(value, Mapping):
            raise ValueIssue(f"expected an array or {{dtype, shape, data}}, got an object with {sorted(value)[:5]}")
        flat, shape = flatten(value, infer_shape(value) if spec is None else spec.shape)
        dtype = spec.dtype if spec is not None else _dtype_of(flat)
        return array_from_values(flat, dtype, integral_floats=False).reshape(shape)
    except Ragged as error:
        raise TensorIssues({place: f"expected {spec}: {error}" if spec else f"ragged: {error}"}) from None
    except ValueIssue as error:
        raise TensorIssues({place: f"expected {spec}: {error}" if spec else str(error)}) from None


def _dtype_of(flat: list[Any]) -> str:
    kinds = {plain(kind) for kind in set(map(type, flat))}
    if kinds == {bool}:
        return "BOOL"
    if kinds <= {str, bytes} and kinds:
        return "BYTES"
    return "INT64" if kinds == {int} else "FP64"


def _unpack(value: Mapping[str, Any]) -> Array:
    dtype, shape = _dtype(value["dtype"]), _shape(value["shape"])
    data, count = value["data"], math.prod(shape)
    if isinstance(data, list):
        return array_from_values(flatten(data, [count])[0], dtype, integral_floats=False).reshape(shape)
    if not isinstance(data, bytes):
        raise ValueIssue(f"expected data to be binary, got {describe(data)}")
    if isinstance(data, Binary) and data.subtype == VECTOR_SUBTYPE:
        return _from_vector(data, dtype, count).reshape(shape)
    if dtype == "BYTES":
        return unpack_bytes(data, count).reshape(shape)
    if len(data) != count * numpy_dtype(dtype).itemsize:
        raise ValueIssue(f"expected {count * numpy_dtype(dtype).itemsize} bytes for {dtype}{shape}, got {len(data)}")
    if dtype == "BOOL" and data.strip(b"\0\1"):
        raise ValueIssue("expected every byte of a BOOL tensor to be 0 or 1")
    return np.frombuffer(data, numpy_dtype(dtype)).reshape(shape)


def _dtype(value: Any) -> str:
    try:
        return kserve_dtype(value)
    except (TypeError, ValueError):
        raise ValueIssue(f"expected a dtype such as FP32 or BYTES, got {describe(value)}") from None


def _shape(value: Any) -> list[int]:
    if not isinstance(value, list) or not all(plain(type(n)) is int and 0 < n < 2**31 for n in value):
        raise ValueIssue(f"expected shape to be a list of positive whole numbers, got {_brief(value)}")
    if len(value) > MOST_AXES:
        raise ValueIssue(f"expected at most {MOST_AXES} axes, got {len(value)}")
    return [int(n) for n in value]


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _from_vector(data: Binary, dtype: str, count: int) -> Array:
    """BSON's vector type (subtype 9) knows FLOAT32, INT8 and packed bits."""
    try:
        vector = data.as_vector()
    except (ValueError, struct.error) as error:
        raise ValueIssue(f"the BSON vector cannot be read: {error}") from None
    wanted = {"FP32": BinaryVectorDtype.FLOAT32, "INT8": BinaryVectorDtype.INT8, "BOOL": BinaryVectorDtype.PACKED_BIT}
    if wanted.get(dtype) != vector.dtype:
        raise ValueIssue(f"a BSON vector of {vector.dtype.name} does not hold {dtype}")
    if dtype == "BOOL":
        bits = np.unpackbits(np.array(vector.data, "u1"))
        values = bits[: len(bits) - vector.padding].astype(bool)
    else:
        values = np.asarray(vector.data, numpy_dtype(dtype))
    if len(values) != count:
        raise ValueIssue(f"expected {count} values, got {len(values)}")
    return values


def _text(value: Any) -> Any:
    """Bytes as strings where they are UTF-8, so that people can read and query them."""
    if isinstance(value, list):
        return [_text(item) for item in value]
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Binary(value)
