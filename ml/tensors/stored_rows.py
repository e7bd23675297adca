"""Stored inputs as rows for a model: one tensor, or one for each of its inputs by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.signature import Signature
from ml.tensors.issues import TensorIssues
from ml.tensors.stored import from_stored


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
