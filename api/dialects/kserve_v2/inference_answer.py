"""The answer to a v2 inference request: JSON, with the bytes of outputs behind it where they were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from api.dialects.kserve_v2.described import LENGTH, OCTETS
from api.dialects.kserve_v2.inference_request import Asked, Wanted
from api.plain import Written
from api.render import MIME, dumps
from ml.service import Answer
from ml.tensors import dtype_of, to_raw
from ml.tensors.raw import Buffer
from ml.tensors.values import Array

JSON_HEADERS = [("Content-Type", MIME)]


def written(answer: Answer, asked: Asked, id_: str, classes: Sequence[str] | None) -> Written:
    """The body and its headers. `classes` are those of the model that answered, where some are wanted.

    It has the id that the client gave, else the request's.
    """
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
    body = {"id": asked.id or id_, "model_name": answer.model, "model_version": str(answer.version), "outputs": outputs}
    header = dumps(body)
    if not tail:
        return header, JSON_HEADERS
    return b"".join([header, *tail]), [("Content-Type", OCTETS), (LENGTH, str(len(header)))]


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
