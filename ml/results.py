"""What a result's document says of one row: its output, label and score, or its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.tensors import to_stored_rows

Array = NDArray[Any]


def succeeded(outputs: Mapping[str, Array], rows: int, classes: Sequence[str] | None) -> list[dict[str, Any]]:
    """The fields of rows that were computed; the first axis of each output is the rows."""
    labels = labels_and_scores(outputs, rows, classes)
    if len(outputs) == 1:
        ((name, values),) = outputs.items()
        found = [{"status": "succeeded", "output": {name: stored}} for stored in to_stored_rows(values)]
    else:
        each = [to_stored_rows(values) for values in outputs.values()]
        found = [
            {"status": "succeeded", "output": dict(zip(outputs, stored, strict=True))}
            for stored in zip(*each, strict=True)
        ]
    if labels is not None:
        for fields, label in zip(found, labels, strict=True):
            fields.update(label)
    return found


def failed(code: str, message: str) -> dict[str, Any]:
    """The fields of a row that was not."""
    return {"status": "failed", "error": {"code": code, "message": message[:2000]}}


def labels_and_scores(
    outputs: Mapping[str, Array], rows: int, classes: Sequence[str] | None
) -> list[dict[str, Any]] | None:
    """The class of each row and its value as the model gave it, where the model has classes and one numeric output.

    As many values as classes: the largest one's. One value and two classes: the second at 0.5 or more. Else None.
    """
    found = best_of(outputs, rows, classes)
    if found is None or classes is None:
        return None
    best, scores = found
    return [{"label": classes[at], "score": score} for at, score in zip(best.tolist(), scores.tolist(), strict=True)]


def best_of(outputs: Mapping[str, Array], rows: int, classes: Sequence[str] | None) -> tuple[Array, Array] | None:
    """The number of each row's class, and its value; None where `labels_and_scores` gives nothing."""
    if not classes or len(outputs) != 1:
        return None
    values = np.asarray(next(iter(outputs.values()))).reshape(rows, -1)
    if values.dtype.kind not in "iuf":
        return None
    width = values.shape[1]
    if width == len(classes):
        best = values.argmax(axis=1)
        return best, values[np.arange(rows), best]
    if width == 1 and len(classes) == 2:
        return (values[:, 0] >= 0.5).astype(int), values[:, 0]
    return None
