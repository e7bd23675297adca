"""Scores a chunk of a job's rows: rows of one shape go to the executor together, what fails is told row by row."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson
import numpy as np
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from numpy.typing import NDArray

from ml.database.client import Document
from ml.database.documents import new_etag, now
from ml.executors.base import Arrays
from ml.jobs.encoding import encode_alike
from ml.live import LiveModel
from ml.results import best_of, failed, succeeded
from ml.slots import Slot
from ml.tensors import TensorIssues, alike, row_of

#: How long a chunk may wait for the executor and be computed.
CHUNK_SECONDS = 600.0

Fields = dict[str, Any]


@dataclass(slots=True)
class Results:
    """What is to be stored of a chunk: for each input one document, which may be encoded already."""

    inputs: list[ObjectId] = field(default_factory=list)
    documents: list[Any] = field(default_factory=list)
    #: How many of them are failed.
    failed: int = 0

    def add(self, row: ObjectId, document: Any, *, failed: bool = False) -> None:
        self.inputs.append(row)
        self.documents.append(document)
        self.failed += failed

    @property
    def row_bytes(self) -> int:
        """What one of them takes, by the first."""
        first = self.documents[0]
        return len(first.raw if isinstance(first, RawBSONDocument) else bson.encode(first))

    def of(self, inputs: set[ObjectId]) -> Results:
        """Those of these inputs."""
        kept = [number for number, id_ in enumerate(self.inputs) if id_ in inputs]
        documents = [self.documents[number] for number in kept]
        bad = sum(document["status"] == "failed" for document in documents)
        return Results([self.inputs[number] for number in kept], documents, bad)


def score(live: LiveModel, chunk: Sequence[Document], job: Mapping[str, Any]) -> Results:
    """One document of `results` for each row: what the model gave, or why there is nothing."""
    frame = _Frame(live, job)
    batch = alike([row.get("data") for row in chunk], live.signature)
    if batch is not None:
        slot = _run(live, batch, len(chunk))
        if slot.outputs is not None and not slot.failures:
            return _succeeded(frame, live, chunk, slot)
        of_rows = _fields(live, slot)
    else:
        of_rows = _row_by_row(live, chunk)
    results = Results()
    for row, fields in zip(chunk, of_rows, strict=True):
        results.add(row["_id"], frame.document(row, fields), failed=fields["status"] == "failed")
    return results


class _Frame:
    """What is around a row's fields in its document."""

    def __init__(self, live: LiveModel, job: Mapping[str, Any]) -> None:
        self.id_of = result_ids(job["_id"])
        self._at = now()
        # What is indexed comes first: the database looks for it from the beginning, once for each index.
        self._facts = {"job": job["_id"], "_created": self._at, **live.facts, "protocol": job.get("protocol", "job")}
        if job.get("request") is not None:
            self._facts["request"] = job["request"]

    def document(self, row: Document, fields: Fields) -> Document:
        """The document of a row's result."""
        id_ = row["_id"]
        return self.around(ObjectId(self.id_of(id_)), id_, new_etag(), fields, row.get("meta"), _owner(row))

    def around(
        self, id_: ObjectId, input_: ObjectId, tag: str, fields: Fields, meta: Any, owner: str | None
    ) -> Document:
        document: Document = {"_id": id_, "input": input_}
        if owner is not None:
            document["owner"] = owner
        document.update(self._facts)
        document.update(fields)
        if meta:
            document["meta"] = meta
        document["_updated"] = self._at
        document["_etag"] = tag
        return document


def _succeeded(frame: _Frame, live: LiveModel, chunk: Sequence[Document], slot: Slot) -> Results:
    """The results of rows that were all computed; those with one label and owner are encoded together."""
    assert slot.outputs is not None
    outputs, timing = slot.outputs, slot.timing
    best = best_of(outputs, len(chunk), live.classes)
    labels: list[Any] = best[0].tolist() if best is not None else [None] * len(chunk)
    groups: dict[Any, list[int]] = {}
    for number, (row, label) in enumerate(zip(chunk, labels, strict=True)):
        # One with a meta is like no other.
        groups.setdefault((label, _owner(row), number if row.get("meta") else None), []).append(number)
    results = Results()
    for (label, owner, alone), numbers in groups.items():
        named = {} if label is None or live.classes is None else {"label": live.classes[label]}

        def make(
            id_: ObjectId,
            input_: ObjectId,
            tag: str,
            output: dict[str, Any],
            score: float | None,
            named: Fields = named,
            owner: str | None = owner,
        ) -> Document:
            fields = {"status": "succeeded", "output": output, **named, **({"score": score} if named else {})}
            return frame.around(id_, input_, tag, {**fields, "timing": timing}, None, owner)

        part = {name: values[numbers] for name, values in outputs.items()}
        rows = [chunk[number] for number in numbers]
        documents: Sequence[Any] | None = None
        if alone is None:
            ids = [frame.id_of(row["_id"]) for row in rows]
            scores = best[1][numbers] if best is not None else None
            documents = encode_alike(make, ids, [row["_id"].binary for row in rows], part, scores)
        if documents is None:
            each = succeeded(part, len(rows), live.classes)
            timed = ({**fields, "timing": timing} for fields in each)
            documents = [frame.document(row, fields) for row, fields in zip(rows, timed, strict=True)]
        for row, document in zip(rows, documents, strict=True):
            results.add(row["_id"], document)
    return results


def _row_by_row(live: LiveModel, chunk: Sequence[Document]) -> list[Fields]:
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
        of_group = _fields(live, _run(live, stacked, len(group)))
        for (index, _), of_row in zip(group, of_group, strict=True):
            fields[index] = of_row
    return fields


def _run(live: LiveModel, inputs: dict[str, NDArray[Any]], rows: int) -> Slot:
    """Rows of one shape through the model."""
    names = [spec.name for spec in live.signature.inputs]
    slot = Slot(inputs={name: inputs[name] for name in names}, rows=rows, deadline=time.monotonic() + CHUNK_SECONDS)
    live.batcher.submit(slot)
    if not slot.wait():
        raise TimeoutError(f"the model did not answer within {CHUNK_SECONDS:.0f} s")
    if slot.error is not None:
        raise slot.error
    return slot


def _fields(live: LiveModel, slot: Slot) -> list[Fields]:
    """The fields of each row, computed or not."""
    computed = [] if slot.outputs is None else succeeded(slot.outputs, slot.rows, live.classes)
    if not computed:
        computed = [failed("execution_failed", "the model gave nothing") for _ in range(slot.rows)]
    for row, message in slot.failures.items():
        computed[row] = failed("execution_failed", message)
    timing = slot.timing
    for of_row in computed:
        of_row["timing"] = timing
    return computed


def _owner(row: Mapping[str, Any]) -> str | None:
    owner = row.get("owner")
    return owner if isinstance(owner, str) else None


def result_ids(job: ObjectId) -> Callable[[ObjectId], bytes]:
    """What gives the `_id` of each row's result: a row that is delivered again has the same, and is not written twice.

    It is the row's time, then 8 bytes made of job and row. Rows are taken in the order of their times, so that the
    results of a chunk come to lie side by side; all over a large collection, each would touch another page.
    """
    of_job = hashlib.sha256(job.binary)

    def result_id(row: ObjectId) -> bytes:
        raw = row.binary
        digest = of_job.copy()
        digest.update(raw)
        return raw[:4] + digest.digest()[:8]

    return result_id
