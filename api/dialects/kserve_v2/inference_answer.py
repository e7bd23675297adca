"""The answer to a v2 inference request: JSON, with the bytes of outputs behind it where they were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from api.dialects.kserve_v2.inference_request import Asked, Wanted
from api.render import dumps
from ml.service import Answer
from ml.tensors import dtype_of, to_raw
from ml.tensors.raw import Buffer
from ml.tensors.values import Array


def written(answer: Answer, asked: Asked, id_: str, classes: Sequence[str] | None) -> tuple[bytes, int | None]:
    """The body, and how much of it is JSON where bytes follow. `classes` are those of the model that answered."""
    tail: list[Buffer] = []
    outputs = []
    for wanted in asked.outputs or [Wanted(name, asked.binary) for name in answer.outputs]:
        array = answer.outputs[wanted.name]
        if wanted.classes:
            array = best(array, wanted.classes, classes)
        output: dict[str, Any] = {"name": wanted.name, "datatype": dtype_of(array), "shape": array.shape}
        if wanted.binary:
            raw = to_raw(array)
            tail.append(raw)
            output["parameters"] = {"binary_data_size": len(raw)}
        else:
            output["data"] = array.reshape(-1)
        outputs.append(output)
    body = {"id": id_, "model_name": answer.model, "model_version": str(answer.version), "outputs": outputs}
    header = dumps(body)
    return (b"".join([header, *tail]), len(header)) if tail else (header, None)


def best(array: Array, most: int, classes: Sequence[str] | None) -> Array:
    """The so many greatest values of each row, as Triton says them: `value:index`, `value:index:label`."""
    rows = array.reshape(len(array), -1)
    width = rows.shape[1]
    labels = classes if classes is not None and len(classes) == width else None
    order = np.argsort(-rows.astype("f8"), axis=1, kind="stable")[:, :most]
    whole = array.dtype.kind in "biu"
    made: Array = np.empty(order.shape, object)
    for row, places in enumerate(order.tolist()):
        for rank, place in enumerate(places):
            value = str(int(rows[row, place])) if whole else f"{float(rows[row, place]):f}"
            text = f"{value}:{place}" + (f":{labels[place]}" if labels is not None else "")
            made[row, rank] = text.encode()
    return made
