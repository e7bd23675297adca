"""Documents as clients see them: packed tensors as nested lists, or by dtype and shape where they are long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.resources import RESOURCES
from ml.database.client import Document
from ml.tensors import TensorIssues, from_stored, is_packed, stored_shape

#: In lists a longer tensor is only described.
MOST_IN_LISTS = 1024


def present(resource: str, document: Document, *, short: bool) -> Document:
    """Turn the stored tensors of a document into what JSON shows; the document is changed and returned."""
    for name in RESOURCES[resource].tensors:
        if name in document:
            document[name] = _shown(document[name], short)
    return document


def _shown(value: Any, short: bool) -> Any:
    described = stored_shape(value)
    if described is not None:
        dtype, shape = described
        if short and _count(shape) > MOST_IN_LISTS:
            return {"dtype": dtype, "shape": shape}
        try:
            return _numbers(from_stored(value))
        except TensorIssues:
            return {"dtype": dtype, "shape": shape}  # another program's, and wrong
    if isinstance(value, Mapping) and not is_packed(value):
        return {name: _shown(item, short) for name, item in value.items()}
    return value


def _numbers(array: Any) -> Any:
    """numpy arrays are rendered as they are (a float32 with its own digits), strings as lists."""
    return array.tolist() if array.dtype == object else array


def _count(shape: list[Any]) -> int:
    count = 1
    for length in shape:
        count *= length if isinstance(length, int) else 1
    return count
