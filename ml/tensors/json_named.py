"""Tensors that say of themselves what they are, {name, shape, datatype, data}, in the JSON of a request.

As in `json_fast.py`, the quick way takes what is plainly right without a Python object for each number, and gives None
for everything else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import simdjson

from ml.signature import TensorSpec
from ml.tensors.json_fast import brackets, lists, narrowed, parser, plain
from ml.tensors.nesting import Ragged, flatten
from ml.tensors.values import Array, ValueIssue, array_from_values, describe

#: The beginnings of datatypes to what the parser is asked for.
NUMBERS = {"FP": ("d", "f8"), "IN": ("i", "i8"), "UI": ("i", "i8")}


def read_named(data: bytes) -> dict[str, Any] | None:
    """The body, in whose `inputs` the `data` of numbers are flat arrays of FP64 or INT64; None for the slow way.

    Such data had the given shape, nested or flat, and nothing in it but numbers.
    """
    try:
        # Parts of what was parsed must not outlive this call: see json_fast.py.
        return _read(parser().parse(data), data)
    except (ValueError, TypeError, RuntimeError, KeyError, AttributeError, IndexError):
        return None


def _read(document: Any, data: bytes) -> dict[str, Any] | None:
    names = list(document.keys())
    if len(set(names)) != len(names):
        return None
    found = {name: plain(document[name]) for name in names if name != "inputs"}
    count = sum(map(brackets, found.values())) + 1
    found["inputs"] = inputs = []
    for tensor in document["inputs"]:
        made, more = _tensor(tensor)
        inputs.append(made)
        count += more
    # The parser's buffer holds the numbers of all nested lists alike: how many brackets there are tells them apart.
    return found if data.count(b"[") == count else None


def _tensor(tensor: Any) -> tuple[dict[str, Any], int]:
    """One tensor, and how many brackets it is written with where it is what it seems to be."""
    names = list(tensor.keys())
    if len(set(names)) != len(names):
        raise ValueError(names)
    made = {name: plain(tensor[name]) for name in names if name != "data"}
    count = sum(map(brackets, made.values()))
    if "data" not in names:
        return made, count
    data, kind = tensor["data"], NUMBERS.get(made["datatype"][:2])
    if kind is None:
        made["data"] = data.as_list()
        return made, count + brackets(made["data"])
    shape = made["shape"]
    made["data"] = values = np.frombuffer(data.as_buffer(of_type=kind[0]), kind[1])
    if values.size != math.prod(shape):
        raise ValueError(values.size)
    if not isinstance(data[0], simdjson.Array):
        if len(data) != values.size:
            raise ValueError(values.size)
        return made, count + 1
    level = [data]
    for depth, length in enumerate(shape):
        if set(map(len, level)) != {length}:
            raise ValueError(depth)
        if depth + 1 < len(shape):
            level = [item for part in level for item in part]
    return made, count + lists(tuple(shape))


def array_of(data: Any, spec: TensorSpec, shape: Sequence[int]) -> Array:
    """A tensor's `data`, as `read_named` or a parser of JSON gives it, in the dtype of `spec`.

    A list is flat or nested as `shape` says. Raises ValueIssue.
    """
    if isinstance(data, np.ndarray):
        quick = narrowed(data, spec.numpy_dtype)
        if quick is not None:
            return quick.reshape(shape)
        data = data.tolist()
    if not isinstance(data, list):
        raise ValueIssue(f"expected a list, got {describe(data)}")
    nested = bool(data) and isinstance(data[0], list)
    try:
        flat, _ = flatten(data, shape if nested else (math.prod(shape),))
    except Ragged as error:
        raise ValueIssue(str(error)) from None
    return array_from_values(flat, spec.dtype, integral_floats=True).reshape(shape)


def shape_of(given: Mapping[str, Any], spec: TensorSpec) -> list[int]:
    """The `shape` of a tensor: rows, and then what a row of `spec` has. Raises ValueIssue."""
    shape = given.get("shape")
    if not isinstance(shape, list) or not all(type(length) is int and 0 < length < 2**31 for length in shape):
        came = describe(shape) if not isinstance(shape, list) else str(shape)[:100]
        raise ValueIssue(f"expected shape to be a list of positive whole numbers, got {came}")
    if not shape or not spec.fits(shape[1:]):
        wanted = ["rows", *("?" if n is None else str(n) for n in spec.shape)]
        raise ValueIssue(f"expected shape [{', '.join(wanted)}], got {str(shape)[:100]}")
    return shape
