"""How many inputs a job would be over: counted within a moment, while somebody writes its filter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bson import MinKey
from pymongo.database import Database
from pymongo.errors import ExecutionTimeout

from ml.database.client import Document

#: What one index has of every input: for a filter of these alone no input is read.
INDEXED = frozenset({"owner", "tags", "model", "source"})
#: Any owner, and none: by this the index begins, which the database does not take for a filter of its other fields.
ANYONE: Document = {"owner": {"$gte": MinKey()}}
#: Inputs that are read for what a filter says of other fields.
MOST_READ = 5_000
#: Milliseconds that the database has for each of at most two counts.
COUNT_MS = 100


@dataclass(frozen=True, slots=True)
class Matching:
    """So many match: of all inputs, or of the first `of` that the rest of the filter leaves."""

    count: int
    of: int | None = None


def matching(db: Database[Document], query: Mapping[str, Any], most: int) -> Matching | None:
    """How many inputs match a job's filter over rows, counted to `most` + 1 and no further.

    None where even that is not told soon.
    """
    by_index, others = _parted(query)
    try:
        if not others:
            return Matching(_count(db, by_index, most + 1))
        stages: list[Document] = [{"$match": by_index}, {"$limit": MOST_READ}, {"$match": others}, {"$count": "n"}]
        found = next(iter(db["inputs"].aggregate(stages, maxTimeMS=COUNT_MS)), {"n": 0})
        whole = _count(db, by_index, MOST_READ + 1) <= MOST_READ
    except ExecutionTimeout:
        return None
    return Matching(int(found["n"]), None if whole else MOST_READ)


def _count(db: Database[Document], query: Document, limit: int) -> int:
    # Not count_documents: this command counts entries of the index alone, and all documents without looking at any.
    answer = db.command("count", "inputs", query=query, limit=limit, maxTimeMS=COUNT_MS)
    return int(answer["n"])


def _parted(query: Mapping[str, Any]) -> tuple[Document, Document]:
    """What of a filter the index knows, and the rest."""
    parts: dict[bool, list[Document]] = {True: [], False: []}
    for name, condition in _conditions(query):
        parts[name in INDEXED].append({name: condition})
    if parts[True] and not any(_begins_an_index(part) for part in parts[True]):
        parts[True].append(ANYONE)
    by_index, others = ({"$and": found} if found else {} for found in (parts[True], parts[False]))
    return by_index, others


def _conditions(query: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, condition in query.items():
        if name == "$and":
            for part in condition:
                yield from _conditions(part)
        else:
            yield name, condition


def _begins_an_index(part: Document) -> bool:
    """Whether the database finds an index by this: of an owner's inputs, or of a tag's."""
    return "owner" in part or isinstance(part.get("tags"), str)
