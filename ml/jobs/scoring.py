"""Scores a chunk of a job's rows: rows of one shape go to the executor together, what fails is told row by row."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from bson import ObjectId

from ml.database.client import Document
from ml.database.documents import identity, now, stamp_new
from ml.executors.base import Arrays
from ml.live import LiveModel
from ml.results import failed, succeeded
from ml.slots import Slot
from ml.tensors import TensorIssues, row_of

#: How long a chunk may wait for the executor and be computed.
CHUNK_SECONDS = 600.0

Rows = list[tuple[ObjectId, Arrays]]


def score(live: LiveModel, chunk: Sequence[Document], job: Mapping[str, Any]) -> list[Document]:
    """One document of `results` for each row: what the model gave, or why there is nothing."""
    fields: dict[ObjectId, dict[str, Any]] = {}
    groups: dict[Any, Rows] = {}
    for row in chunk:
        try:
            arrays = row_of(row.get("data"), live.signature, "data")
        except TensorIssues as error:
            fields[row["_id"]] = failed("invalid_input", str(error))
        else:
            shapes = tuple(np.shape(array) for array in arrays.values())
            groups.setdefault(shapes, []).append((row["_id"], arrays))
    for rows in groups.values():
        fields.update(_compute(live, rows))
    at = now()
    return [_document(live, row, fields[row["_id"]], job, at) for row in chunk]


def _compute(live: LiveModel, rows: Rows) -> dict[ObjectId, dict[str, Any]]:
    """The fields of rows of one shape."""
    names = [spec.name for spec in live.signature.inputs]
    slot = Slot(
        inputs={name: np.stack([arrays[name] for _, arrays in rows]) for name in names},
        rows=len(rows),
        deadline=time.monotonic() + CHUNK_SECONDS,
    )
    live.batcher.submit(slot)
    if not slot.wait():
        raise TimeoutError(f"the model did not answer within {CHUNK_SECONDS:.0f} s")
    if slot.error is not None:
        raise slot.error
    timing = slot.timing
    fields = {}
    for index, (id_, _) in enumerate(rows):
        if index in slot.failures or slot.outputs is None:
            fields[id_] = failed("execution_failed", slot.failures.get(index, "the model gave nothing"))
        else:
            fields[id_] = succeeded(slot.outputs, index, live.classes)
        fields[id_]["timing"] = timing
    return fields


def _document(
    live: LiveModel, row: Mapping[str, Any], fields: Mapping[str, Any], job: Mapping[str, Any], at: datetime
) -> Document:
    document: Document = {
        # A row that is delivered again has the same _id, and cannot be written twice.
        "_id": identity(job["_id"], row["_id"]),
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
