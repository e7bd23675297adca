"""An answer as it is kept: in its key's document, or where it is too long for one, in parts beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from pymongo.collection import Collection

from ml.database.client import READ_MS, Document
from ml.database.documents import identity
from ml.database.leases import until
from ml.errors import StorageUnavailable

#: Bytes of a body in one document, which holds 16 MB at most.
PART_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What was answered: the status, the headers that are the answer's own, the body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def to_document(keys: Collection[Document], made: ObjectId, answer: StoredAnswer, seconds: float) -> Document:
    """What the key's document says of an answer. Parts of a long one are stored first, for so many seconds.

    `made` is the fence under which it was made, so that two runs' parts are never mixed.
    """
    document: Document = {"status": answer.status, "headers": [list(header) for header in answer.headers]}
    if len(answer.body) <= PART_BYTES:
        return {**document, "body": answer.body}
    places = range(0, len(answer.body), PART_BYTES)
    for number, place in enumerate(places):
        part = answer.body[place : place + PART_BYTES]
        stored = {"part": {"$literal": part}, "expires": until(seconds)}
        keys.update_one({"_id": _part_id(made, number)}, [{"$set": stored}], upsert=True)
    return {**document, "parts": len(places), "made": made}


def from_document(keys: Collection[Document], document: Mapping[str, Any]) -> StoredAnswer:
    """The answer again. Raises StorageUnavailable where a part of it is gone."""
    body = document.get("body")
    if body is None:
        ids = [_part_id(document["made"], number) for number in range(document["parts"])]
        found = {part["_id"]: part["part"] for part in keys.find({"_id": {"$in": ids}}, max_time_ms=READ_MS)}
        if len(found) < len(ids):
            raise StorageUnavailable(f"{len(ids) - len(found)} of {len(ids)} parts of the stored answer are gone")
        body = b"".join(found[id_] for id_ in ids)
    return StoredAnswer(document["status"], [(name, value) for name, value in document["headers"]], bytes(body))


def _part_id(made: ObjectId, number: int) -> ObjectId:
    return identity("idempotency", "part", made, str(number))
