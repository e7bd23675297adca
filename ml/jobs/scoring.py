"""Scores a chunk of a job's rows: rows of one shape go to the executor together, what fails is told row by row."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from ml.database.client import Document
from ml.database.documents import now, stamp_new
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
    of_rows = _fields(live, chunk)
    id_of = result_ids(job["_id"])
    facts = {**live.facts, "job": job["_id"], "protocol": "job"}
    if job.get("request") is not None:
        facts["request"] = job["request"]
    at = now()
    documents = []
    for row, fields in zip(chunk, of_rows, strict=True):
        document: Document = {"_id": id_of(row["_id"]), "input": row["_id"], **facts, **fields}
        if row.get("meta"):
            document["meta"] = row["meta"]
        owner = row.get("owner")
        documents.append(stamp_new(document, owner if isinstance(owner, str) else None, at))
    return documents


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
    computed = [] if slot.outputs is None else succeeded(slot.outputs, rows, live.classes)
    if not computed:
        computed = [failed("execution_failed", "the model gave nothing") for _ in range(rows)]
    for row, message in slot.failures.items():
        computed[row] = failed("execution_failed", message)
    timing = slot.timing
    for of_row in computed:
        of_row["timing"] = timing
    return computed


def result_ids(job: ObjectId) -> Callable[[ObjectId], ObjectId]:
    """What gives the `_id` of each row's result: a row that is delivered again has the same, and is not written twice.

    It is the row's time, then 8 bytes made of job and row. Rows are taken in the order of their times, so that the
    results of a chunk come to lie side by side; all over a large collection, each would touch another page.
    """
    of_job = hashlib.sha256(job.binary)

    def result_id(row: ObjectId) -> ObjectId:
        raw = row.binary
        digest = of_job.copy()
        digest.update(raw)
        return ObjectId(raw[:4] + digest.digest()[:8])

    return result_id
