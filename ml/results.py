"""What a result's document says of one row: its output, label and score, or its error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.tensors import to_stored

Array = NDArray[Any]


def succeeded(outputs: Mapping[str, Array], row: int, classes: Sequence[str] | None) -> dict[str, Any]:
    """The fields of a row that was computed."""
    fields: dict[str, Any] = {
        "status": "succeeded",
        "output": {name: to_stored(np.asarray(values[row])) for name, values in outputs.items()},
    }
    fields.update(label_and_score(outputs, row, classes))
    return fields


def failed(code: str, message: str) -> dict[str, Any]:
    """The fields of a row that was not."""
    return {"status": "failed", "error": {"code": code, "message": message[:2000]}}


def label_and_score(outputs: Mapping[str, Array], row: int, classes: Sequence[str] | None) -> dict[str, Any]:
    """The class of a row and its value as the model gave it, where the model has classes and one numeric output.

    As many values as classes: the largest one's. One value and two classes: the second at 0.5 or more. Else nothing.
    """
    if not classes or len(outputs) != 1:
        return {}
    values = np.asarray(next(iter(outputs.values()))[row]).reshape(-1)
    if values.dtype.kind not in "iuf":
        return {}
    if len(values) == len(classes):
        best = int(np.argmax(values))
        return {"label": classes[best], "score": values[best].item()}
    if len(values) == 1 and len(classes) == 2:
        return {"label": classes[int(values[0] >= 0.5)], "score": values[0].item()}
    return {}
