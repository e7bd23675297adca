"""The rows of a job in the order in which it takes them: by _id from a checkpoint, then those that were missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from ml.database.client import Document
from ml.jobs.requests import rows_filter

#: Rows in one chunk, hence in one transaction, and the bytes after which a chunk is closed early.
CHUNK_ROWS = 256
CHUNK_BYTES = 8 << 20


def chunks(db: Database[Document], job: Mapping[str, Any], after: ObjectId | None) -> Iterator[list[Document]]:
    """The job's inputs in `_id` order, those after `after`, a chunk at a time."""
    cursor = db["inputs"].find(rows_filter(job), {"data": True, "owner": True, "meta": True})
    # min() holds for every type of _id, which a filter {"_id": {"$gt": ...}} does not.
    cursor = cursor.sort("_id", 1).hint("_id_").batch_size(CHUNK_ROWS)
    if after is not None:
        cursor = cursor.min([("_id", after)])  # type: ignore[list-item]  # the stubs know only sort orders here
    chunk: list[Document] = []
    size = 0
    with cursor:
        for document in cursor:
            if document["_id"] == after:
                continue
            chunk.append(document)
            size += _size(document.get("data"))
            if len(chunk) >= CHUNK_ROWS or size >= CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
    if chunk:
        yield chunk


def missing(db: Database[Document], job: Mapping[str, Any]) -> Iterator[list[Document]]:
    """Chunks of the job's inputs that have no result at all, wherever they are.

    Ids are not in the order of commits, so an input can appear behind a checkpoint that a scan has passed.
    """
    with db["inputs"].find(rows_filter(job), {"_id": True}).sort("_id", 1).hint("_id_") as cursor:
        ids = (document["_id"] for document in cursor)
        while some := list(islice(ids, 1000)):
            have = statuses(db, job, some)
            absent = [id_ for id_ in some if id_ not in have]
            for at in range(0, len(absent), CHUNK_ROWS):
                wanted = absent[at : at + CHUNK_ROWS]
                yield list(db["inputs"].find({"_id": {"$in": wanted}}, {"data": True, "owner": True, "meta": True}))


def statuses(db: Database[Document], job: Mapping[str, Any], inputs: list[ObjectId]) -> dict[ObjectId, str]:
    """The status of the result that each of these inputs has in this job, where it has one."""
    found = db["results"].find({"job": job["_id"], "input": {"$in": inputs}}, {"input": True, "status": True})
    return {document["input"]: document["status"] for document in found}


def count(db: Database[Document], job: Mapping[str, Any]) -> int:
    """How many rows the job has now."""
    return db["inputs"].count_documents(rows_filter(job))


def _size(data: Any) -> int:
    """About how many bytes a row takes; nested arrays are small by the way in which they are stored here."""
    if isinstance(data, Mapping):
        return sum(_size(value) for value in data.values())
    return len(data) if isinstance(data, bytes) else 512
