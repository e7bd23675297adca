"""The rows of a job in the order in which it takes them: by _id from a checkpoint, then those that were missed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId
from pymongo.cursor import Cursor
from pymongo.database import Database

from ml.database.client import Document
from ml.jobs.requests import names_a_tag, rows_filter

#: Rows in one chunk, hence in one transaction, at most; and the bytes after which a chunk is closed early.
CHUNK_ROWS = 1024
CHUNK_BYTES = 8 << 20
#: Ids of a list that are asked for together, and after how many ids the last pass says how far it is.
LIST_IDS = 1000
SWEEP_MARK = 10_000

#: What is read of an input.
FIELDS = {"data": True, "owner": True, "meta": True}

#: How many rows the next chunk is to have.
Size = Callable[[], int]


@dataclass(slots=True)
class Chunk:
    """Rows that are scored and committed together. Without rows it only says how far the job is."""

    rows: list[Document]
    #: What the job's document says when the chunk is committed.
    mark: dict[str, Any]
    #: Those of its inputs that have a failed result, which the new one replaces.
    failed: Collection[ObjectId] = field(default_factory=frozenset)


def walk(db: Database[Document], job: Mapping[str, Any], size: Size) -> Generator[Chunk]:
    """All that is left of a job: its rows from where it stands, then those that appeared behind it.

    A retry keeps what succeeded. Ids are not in the order of commits, so an input can appear behind a checkpoint that
    was passed already: a last pass finds inputs that have no result at all.
    """
    phase, checkpoint = job.get("phase", "scan"), job.get("checkpoint")
    if phase != "sweep":
        for rows in _read(db, job, checkpoint, size):
            mark = {"phase": phase, "checkpoint": rows[-1]["_id"]}
            if phase == "retry":
                have = statuses(db, job, [row["_id"] for row in rows])
                wanted = [row for row in rows if have.get(row["_id"]) != "succeeded"]
                yield Chunk(wanted, mark, {id_ for id_, status in have.items() if status == "failed"})
            else:
                yield Chunk(rows, mark)
        checkpoint = None
        yield Chunk([], {"phase": "sweep", "checkpoint": None})
    yield from _sweep(db, job, checkpoint, size)


def statuses(db: Database[Document], job: Mapping[str, Any], inputs: list[ObjectId]) -> dict[ObjectId, str]:
    """The status of the result that each of these inputs has in this job, where it has one."""
    found = db["results"].find({"job": job["_id"], "input": {"$in": inputs}}, {"input": True, "status": True})
    return {document["input"]: document["status"] for document in found}


def without_result(db: Database[Document], job: Mapping[str, Any], inputs: list[ObjectId]) -> list[ObjectId]:
    """Those of the inputs that have no result in this job, in the order given. The index alone answers it."""
    query = {"job": job["_id"], "input": {"$in": inputs}}
    have = {document["input"] for document in db["results"].find(query, {"_id": False, "input": True})}
    return [id_ for id_ in inputs if id_ not in have]


def some(db: Database[Document], job: Mapping[str, Any], inputs: list[ObjectId]) -> list[Document]:
    """Those of the inputs that are the job's, in the order of their ids. A list of ids they must be from already."""
    return list(db["inputs"].find(rows_filter(job, inputs), FIELDS).sort("_id", 1))


def count(db: Database[Document], job: Mapping[str, Any]) -> int:
    """How many rows the job has now."""
    return db["inputs"].count_documents(rows_filter(job))


def _read(
    db: Database[Document], job: Mapping[str, Any], after: ObjectId | None, size: Size
) -> Iterator[list[Document]]:
    """The job's inputs in `_id` order, those after `after`, a chunk at a time."""
    chunk: list[Document] = []
    room = CHUNK_BYTES
    most = size()
    for document in _documents(db, job, after, FIELDS):
        chunk.append(document)
        room -= _size(document.get("data"))
        if len(chunk) >= most or room <= 0:
            yield chunk
            chunk, room, most = [], CHUNK_BYTES, size()
    if chunk:
        yield chunk


def _sweep(db: Database[Document], job: Mapping[str, Any], after: ObjectId | None, size: Size) -> Iterator[Chunk]:
    """Chunks of what has no result: ids and results are both read in the order of ids, side by side."""
    query: Document = {"job": job["_id"], **({} if after is None else {"input": {"$gt": after}})}
    found = db["results"].find(query, {"_id": False, "input": True}).sort("input", 1).hint("job_input")
    with found.batch_size(SWEEP_MARK) as results:
        have = next(results, None)
        absent: list[ObjectId] = []
        for looked, document in enumerate(_documents(db, job, after, {"_id": True}, SWEEP_MARK), 1):
            id_ = document["_id"]
            while have is not None and have["input"] < id_:
                have = next(results, None)
            if have is None or have["input"] != id_:
                absent.append(id_)
                if len(absent) >= size():
                    yield from _chunks_of(db, job, absent)
                    absent = []
            if looked % SWEEP_MARK == 0:
                yield from _chunks_of(db, job, absent)
                absent = []
                yield Chunk([], {"phase": "sweep", "checkpoint": id_})
        yield from _chunks_of(db, job, absent)


def _chunks_of(db: Database[Document], job: Mapping[str, Any], ids: list[ObjectId]) -> Iterator[Chunk]:
    for rows in _parts(some(db, job, ids)) if ids else ():
        yield Chunk(rows, {"phase": "sweep", "checkpoint": rows[-1]["_id"]})


def _documents(
    db: Database[Document],
    job: Mapping[str, Any],
    after: ObjectId | None,
    fields: Mapping[str, Any],
    at_once: int = CHUNK_ROWS,
) -> Iterator[Document]:
    """The job's inputs in `_id` order, those after `after`."""
    if job.get("inputs") is not None:
        ids = sorted(id_ for id_ in job["inputs"] if after is None or id_ > after)
        for at in range(0, len(ids), LIST_IDS):
            query = rows_filter(job, ids[at : at + LIST_IDS])
            yield from db["inputs"].find(query, fields).sort("_id", 1)
        return
    with cursor_over(db, job, after, fields).batch_size(at_once) as cursor:
        for document in cursor:
            if document["_id"] != after:
                yield document


def cursor_over(
    db: Database[Document], job: Mapping[str, Any], after: ObjectId | None, fields: Mapping[str, Any]
) -> Cursor[Document]:
    """All inputs that a job's filter is for, in `_id` order; from `after`, which may be among them."""
    query = rows_filter(job)
    if names_a_tag(job.get("where") or {}):
        beyond = {} if after is None else {"_id": {"$gt": after}}
        return db["inputs"].find({"$and": [query, beyond]}, fields).sort("_id", 1)
    cursor = db["inputs"].find(query, fields).sort("_id", 1).hint("_id_")
    if after is None:
        return cursor
    # min() begins there; a filter for ids beyond it would be held against every document before.
    return cursor.min([("_id", after)])  # type: ignore[list-item]  # the stubs know only sort orders here


def _parts(rows: list[Document]) -> Iterator[list[Document]]:
    """Rows in parts of no more bytes than a chunk may have."""
    part: list[Document] = []
    room = CHUNK_BYTES
    for row in rows:
        part.append(row)
        room -= _size(row.get("data"))
        if room <= 0:
            yield part
            part, room = [], CHUNK_BYTES
    if part:
        yield part


def _size(data: Any) -> int:
    """About how many bytes a row takes; nested arrays are small by the way in which they are stored here."""
    if isinstance(data, Mapping):
        return sum(_size(value) for value in data.values())
    return len(data) if isinstance(data, bytes) else 512
