"""Documents as clients see them: packed tensors as nested lists, or by dtype and shape where they are long."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from api.resources import RESOURCES
from ml.database.client import Document
from ml.tensors import TensorIssues, from_stored, is_packed, outline

#: In lists a longer tensor is only described.
MOST_IN_LISTS = 1024


def present(resource: str, document: Document, *, short: bool, whole: Collection[str] = ()) -> Document:
    """Turn the stored tensors of a document into what JSON shows; the document is changed and returned.

    With `short` long ones are only described, but for those in the fields `whole`.
    """
    for name in RESOURCES[resource].tensors:
        if name in document:
            document[name] = _shown(document[name], short and name not in whole)
    return document


def _shown(value: Any, short: bool) -> Any:
    if isinstance(value, Mapping) and not is_packed(value):
        return {name: _shown(item, short) for name, item in value.items()}
    try:
        described = outline(value, MOST_IN_LISTS) if short else None
        if described is not None:
            return described
        return _numbers(from_stored(value)) if is_packed(value) else value
    except TensorIssues:  # another program's, and wrong
        return {"dtype": value["dtype"], "shape": value["shape"]} if is_packed(value) else value


def _numbers(array: Any) -> Any:
    """numpy arrays are rendered as they are (a float32 with its own digits), strings as lists."""
    return array.tolist() if array.dtype == object else array
