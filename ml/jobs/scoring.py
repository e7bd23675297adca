"""Scores a chunk of a job's rows: rows of one shape go to the executor together, what fails is told row by row."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from ml.database.client import Document
from ml.database.documents import identity, now, stamp_new
from ml.executors.base import Arrays
from ml.live import LiveModel
from ml.results import failed, succeeded
from ml.slots import Slot
from ml.tensors import TensorIssues, alike, row_of

#: How long a chunk may wait for the executor and be computed.
CHUNK_SECONDS = 600.0

Fields = dict[str, Any]


def score(live: LiveModel, chunk: Sequence[Document], job: Mapping[str, Any]) -> list[Document]:
    """One document of `results` for each row: what the model gave, or why there is nothing."""
    fields = _fields(live, chunk)
    at = now()
    return [_document(live, row, of_row, job, at) for row, of_row in zip(chunk, fields, strict=True)]


def _fields(live: LiveModel, chunk: Sequence[Document]) -> list[Fields]:
    batch = alike([row.get("data") for row in chunk], live.signature)
    if batch is not None:
        return _compute(live, batch, len(chunk))
    fields: list[Fields] = [{}] * len(chunk)
    groups: dict[Any, list[tuple[int, Arrays]]] = {}
    for index, row in enumerate(chunk):
        try:
            arrays = row_of(row.get("data"), live.signature, "data")
        except TensorIssues as error:
            fields[index] = failed("invalid_input", str(error))
        else:
            shapes = tuple(np.shape(array) for array in arrays.values())
            groups.setdefault(shapes, []).append((index, arrays))
    for group in groups.values():
        stacked = {name: np.stack([arrays[name] for _, arrays in group]) for name in group[0][1]}
        for (index, _), of_row in zip(group, _compute(live, stacked, len(group)), strict=True):
            fields[index] = of_row
    return fields


def _compute(live: LiveModel, inputs: dict[str, NDArray[Any]], rows: int) -> list[Fields]:
    """The fields of rows of one shape."""
    names = [spec.name for spec in live.signature.inputs]
    slot = Slot(inputs={name: inputs[name] for name in names}, rows=rows, deadline=time.monotonic() + CHUNK_SECONDS)
    live.batcher.submit(slot)
    if not slot.wait():
        raise TimeoutError(f"the model did not answer within {CHUNK_SECONDS:.0f} s")
    if slot.error is not None:
        raise slot.error
    timing = slot.timing
    fields = []
    for row in range(rows):
        if row in slot.failures or slot.outputs is None:
            of_row = failed("execution_failed", slot.failures.get(row, "the model gave nothing"))
        else:
            of_row = succeeded(slot.outputs, row, live.classes)
        of_row["timing"] = timing
        fields.append(of_row)
    return fields


def _document(
    live: LiveModel, row: Mapping[str, Any], fields: Mapping[str, Any], job: Mapping[str, Any], at: datetime
) -> Document:
    document: Document = {
        "_id": result_id(job["_id"], row["_id"]),
        **live.facts,
        "input": row["_id"],
        "job": job["_id"],
        **fields,
        "protocol": "job",
    }
    if job.get("request"):  # of a prediction that is answered by this job
        document["request"] = job["request"]
    if row.get("meta"):
        document["meta"] = row["meta"]
    owner = row.get("owner")
    return stamp_new(document, owner if isinstance(owner, str) else None, at)


def result_id(job: ObjectId, row: ObjectId) -> ObjectId:
    """The `_id` of a row's result: a row that is delivered again has the same one, and cannot be written twice."""
    return identity(job, row)
