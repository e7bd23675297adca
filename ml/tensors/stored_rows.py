"""Stored inputs as rows for a model: one tensor, or one for each of its inputs by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.signature import Signature, TensorSpec, kserve_dtype, numpy_dtype
from ml.tensors.issues import TensorIssues
from ml.tensors.nesting import Ragged, flatten
from ml.tensors.stored import PACKED, from_stored
from ml.tensors.values import Array, ValueIssue, array_from_values, cast_array


def stack_stored(
    documents: Sequence[Mapping[str, Any]], signature: Signature, places: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """The batch that stored inputs make. Raises TensorIssues, by the place that each document has."""
    rows = [row_of(document["data"], signature, place) for document, place in zip(documents, places, strict=True)]
    for spec in signature.inputs:
        shapes = [row[spec.name].shape for row in rows]
        for place, shape in zip(places, shapes, strict=True):
            if shape != shapes[0]:
                raise TensorIssues({f"{place}.{spec.name}": f"expected shape {list(shapes[0])} as in the first row"})
    return {spec.name: np.stack([row[spec.name] for row in rows]) for spec in signature.inputs}


def row_of(data: Any, signature: Signature, place: str) -> dict[str, NDArray[Any]]:
    """One stored row, by input name. Raises TensorIssues."""
    specs = signature.inputs
    if len(specs) == 1 and not (isinstance(data, Mapping) and data.keys() == {specs[0].name}):
        return {specs[0].name: from_stored(data, specs[0], place)}
    if not isinstance(data, Mapping) or data.keys() != {spec.name for spec in specs}:
        came = ", ".join(sorted(data)) if isinstance(data, Mapping) else "one tensor"
        raise TensorIssues({place: f"expected {', '.join(spec.name for spec in specs)}, got {came}"})
    return {spec.name: from_stored(data[spec.name], spec, f"{place}.{spec.name}") for spec in specs}


def alike(rows: Sequence[Any], signature: Signature) -> dict[str, NDArray[Any]] | None:
    """The batch that many rows of one form make, all at once; None where they are not plainly such, or do not fit.

    Then `row_of` tells row by row, and says what is wrong. It never decides otherwise than `row_of`.
    """
    specs = signature.inputs
    try:
        if len(specs) > 1:
            names = {spec.name for spec in specs}
            if not all(isinstance(row, dict) and row.keys() == names for row in rows):
                return None
            return {spec.name: _together([row[spec.name] for row in rows], spec) for spec in specs}
        (spec,) = specs
        return {spec.name: _together(rows, spec)}
    except (Ragged, ValueIssue, _Unlike):
        return None


_INT = frozenset({int})


class _Unlike(Exception):
    """The rows are not of one form."""


def _together(values: Sequence[Any], spec: TensorSpec) -> Array:
    first = values[0]
    if not isinstance(first, dict):
        flat, shape = flatten(list(values), (len(values), *spec.shape))
        return array_from_values(flat, spec.dtype, integral_floats=False).reshape(shape)
    if first.keys() != PACKED:
        raise _Unlike
    dtype, shape, data = first["dtype"], first["shape"], first["data"]
    # Bytes as they are: the driver gives subtype 0 as plain bytes, every other as a Binary.
    if type(data) is not bytes or not isinstance(shape, list):
        raise _Unlike
    length = len(data)
    for value in values:
        if (
            not isinstance(value, dict)
            or value.keys() != PACKED
            or value["dtype"] != dtype
            or value["shape"] != shape
            or not _INT.issuperset(map(type, value["shape"]))
            or type(value["data"]) is not bytes
            or len(value["data"]) != length
        ):
            raise _Unlike
    kind, rows = _number(dtype), len(values)
    if min(shape, default=0) < 0 or length != math.prod(shape) * kind.itemsize or not spec.fits(shape):
        raise _Unlike
    array = np.frombuffer(b"".join([value["data"] for value in values]), kind)
    return cast_array(array.reshape(rows, *shape), spec.dtype)


def _number(name: Any) -> np.dtype[Any]:
    """The dtype that a name means, of numbers, which are read as they lie there."""
    try:
        found = numpy_dtype(kserve_dtype(name))
    except (TypeError, ValueError):
        raise _Unlike from None
    if found.kind not in "iuf":
        raise _Unlike
    return found
