"""Tensors as their bytes alone: little-endian, row-major, a byte for a BOOL, each of BYTES after its length."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np

from ml.signature import KSERVE_OF, numpy_dtype
from ml.tensors.json_fast import step_for
from ml.tensors.values import Array, ValueIssue, narrow

Buffer = bytes | memoryview


def from_raw(data: bytes, dtype: str, shape: Sequence[int], start: int, size: int) -> Array:
    """The tensor in `size` bytes of `data` from `start` on: a view of them where they are numbers.

    Every float is finite. Raises ValueIssue.
    """
    count = math.prod(shape)
    if dtype == "BYTES":
        return unpack_bytes(data[start : start + size], count).reshape(shape)
    target = numpy_dtype(dtype)
    if size != count * target.itemsize:
        raise ValueIssue(f"expected {count * target.itemsize} bytes for {dtype}{list(shape)}, got {size}")
    array = np.frombuffer(data, target, count, start).reshape(shape)
    if target.kind == "b" and (array.view("u1") > 1).any():
        raise ValueIssue("expected every byte of a BOOL tensor to be 0 or 1")
    if target.kind == "f" and not _finite(array.reshape(-1)):
        narrow(array, dtype)  # says which is not; sums of large numbers overflow, too
    # What runs models may want numbers where the processor does.
    return array if array.flags.aligned else array.copy()


def to_raw(array: Array) -> Buffer:
    """The bytes of a tensor; those of numbers that lie in order are not copied."""
    if array.dtype == object:
        return pack_bytes(array)
    return np.ascontiguousarray(little_endian(array)).reshape(-1).view("u1").data


def dtype_of(array: Array) -> str:
    """KServe's name for the type of an array's elements."""
    return KSERVE_OF[array.dtype.name]


def little_endian(array: Array) -> Array:
    """The same numbers in this order of bytes."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _finite(numbers: Array) -> bool:
    """Whether all are, told by their sum: where that is finite, they are."""
    step = step_for(numbers.size)
    total = 0.0
    with np.errstate(all="ignore"):
        for start in range(0, numbers.size, step):
            total += float(np.add.reduce(numbers[start : start + step], dtype="f8"))
    return math.isfinite(total)


def pack_bytes(array: Array) -> bytes:
    """BYTES elements as KServe packs them: each a little-endian uint32 length, then the bytes."""
    return b"".join(struct.pack("<I", len(item)) + item for item in array.reshape(-1))


def unpack_bytes(data: bytes, count: int) -> Array:
    """So many BYTES elements, packed as `pack_bytes` does. Raises ValueIssue."""
    if len(data) < 4 * count:  # before anything is allocated for them
        raise ValueIssue(f"expected {count} elements, each of 4 bytes or more, got {len(data)} bytes")
    array: Array = np.empty(count, object)
    at = 0
    for index in range(count):
        if at + 4 > len(data):
            raise ValueIssue(f"the data ends before element {index} of {count}")
        (length,) = struct.unpack_from("<I", data, at)
        if at + 4 + length > len(data):
            raise ValueIssue(f"element {index} of {count} is longer than the data")
        array[index] = data[at + 4 : at + 4 + length]
        at += 4 + length
    if at != len(data):
        raise ValueIssue(f"{len(data) - at} bytes are left after element {count}")
    return array
