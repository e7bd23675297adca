"""Windows: of what is wanted the first so many results in the order of an index; only these are looked at.

A filter that nothing matches would otherwise read every result there is, and so would a sort that no index has. What
lies beyond a window is another one, that begins where it ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from bson import ObjectId

from ml.database.client import Document

#: Results in a window.
WINDOW = 5_000
#: Versions whose results are looked through together, where no index has all of them in one order; the newest.
MOST_VERSIONS = 50
#: Beyond it a number of JSON is none that an integer of the database equals.
EXACT = 2**53

#: Whether somebody said what is true, and whether the label is that.
Marked = Literal["no", "yes", "right", "wrong"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which results, in which order. None: whatever it is."""

    model: str | None = None
    version: int | None = None
    job: ObjectId | None = None
    status: str | None = None
    label: str | None = None
    marked: Marked | None = None
    #: What was marked as true, as people write it.
    truth: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    #: The least certain first, rather than the newest, or a job's in the order of its inputs.
    least: bool = False
    #: Where the window begins: so many results of the time `until` are passed over, or those of a job up to an id.
    passed: int = 0
    after: ObjectId | None = None


@dataclass(frozen=True, slots=True)
class Further:
    """Where the next window begins."""

    until: datetime | None = None
    passed: int = 0
    after: ObjectId | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The stages of an aggregation that give a window, and what of it is wanted; `index` is the one that it takes."""

    index: str
    match: Document
    #: The index's order; None: whichever is quickest.
    sort: Document | None
    skip: int
    rest: Document

    def candidates(self) -> list[Document]:
        """The stages that begin the window."""
        stages: list[Document] = [{"$match": self.match}]
        if self.sort is not None:
            stages.append({"$sort": self.sort})
        if self.skip:
            stages.append({"$skip": self.skip})
        return stages

    def stages(self) -> list[Document]:
        """The stages that give what is wanted of the window."""
        stages = [*self.candidates(), {"$limit": WINDOW}]
        return [*stages, {"$match": self.rest}] if self.rest else stages


def marked_window(wanted: Wanted, scope: Mapping[str, Any]) -> Window | None:
    """All that is wanted of what was marked of a version, for where that fits into a window; None: more is wanted."""
    if wanted.job is not None or wanted.version is None or wanted.model is None or not _is_marked(wanted):
        return None
    conditions = dict(_conditions(wanted))
    names = ("model", "version", "truth", "label")
    match = {name: conditions.pop(name) for name in names if name in conditions} | dict(scope)
    return Window("marked", match, None, 0, _rest(wanted, conditions))


def window_of(wanted: Wanted, scope: Mapping[str, Any], versions: Sequence[tuple[str, int]]) -> Window | None:
    """The window that is cheapest for what is wanted of the documents in `scope`; None: there can be nothing.

    `versions` are those of which results may be, the newest first: for who sees all owners' where no version is named.
    """
    conditions = dict(_conditions(wanted))
    if wanted.job is not None:
        index, match, skip = "job_input", {"job": wanted.job, **_after(wanted, "input")}, 0
        sort: Document = {"input": 1}
        if wanted.status == "failed":
            index, sort = "failed_job", {"_id": 1}
            match = {"job": wanted.job, "status": conditions.pop("status"), **_after(wanted, "_id")}
        conditions.pop("job")
        conditions.update(scope)
    else:
        match = {"_created": conditions.pop("_created")} if "_created" in conditions else {}
        index, skip = "model_version_created", wanted.passed
        # Of several versions that share a time: always the same first, so that a window begins where one ended.
        sort = {"_created": -1, "model": 1, "version": 1}
        if scope:
            index, match, sort = "owner_created", {**scope, **match}, {"_created": -1}
        elif wanted.model is not None and wanted.version is not None:
            match = {"model": conditions.pop("model"), "version": conditions.pop("version"), **match}
        else:
            pairs = [pair for pair in versions if wanted.model in (None, pair[0]) and wanted.version in (None, pair[1])]
            if not pairs:
                return None
            match = {"$or": [{"model": name, "version": number, **match} for name, number in pairs[:MOST_VERSIONS]]}
            conditions.pop("model", None)
            conditions.pop("version", None)
    return Window(index, match, sort, skip, _rest(wanted, conditions))


def _rest(wanted: Wanted, conditions: Mapping[str, Any]) -> Document:
    """What is looked at of each result in a window."""
    parts = [{name: condition} for name, condition in conditions.items()]
    if wanted.marked in ("right", "wrong"):
        parts.append(_compared(wanted.marked == "right"))
    if wanted.least:
        parts.append({"score": {"$type": "number"}})
    return {"$and": parts} if parts else {}


def as_texts(value: str) -> list[Any]:
    """What may have been marked by who sees this as the truth: the text, and the number or the yes or no that it is."""
    found: list[Any] = [value]
    try:
        number = float(value)
        if math.isfinite(number):
            found.append(int(number) if number.is_integer() and abs(number) < EXACT else number)
    except ValueError:
        pass
    return [*found, value == "true"] if value in ("true", "false") else found


def _is_marked(wanted: Wanted) -> bool:
    return wanted.truth is not None or wanted.marked in ("yes", "right", "wrong")


def _conditions(wanted: Wanted) -> Iterator[tuple[str, Any]]:
    """Each field with what it must be."""
    for name in ("model", "version", "job", "status", "label"):
        value = getattr(wanted, name)
        if value is not None:
            yield name, value
    if wanted.truth is not None:
        yield "truth", {"$in": as_texts(wanted.truth)}
    elif wanted.marked == "no":
        yield "truth", None
    elif wanted.marked is not None:
        yield "truth", {"$ne": None}
    between = {"$gte": wanted.since, "$lte": wanted.until}
    if wanted.since is not None or wanted.until is not None:
        yield "_created", {operator: time for operator, time in between.items() if time is not None}


def _after(wanted: Wanted, name: str) -> Document:
    return {} if wanted.after is None else {name: {"$gt": wanted.after}}


def _compared(equal: bool) -> Document:
    """Whether the truth, as text, is the label; of lists, and of what has no label, neither is said."""
    truth = {"$convert": {"input": "$truth", "to": "string", "onError": None, "onNull": None}}
    compared = {"$eq" if equal else "$ne": [truth, "$label"]}
    return {"$expr": {"$and": [{"$not": {"$isArray": "$truth"}}, compared]}, "label": {"$exists": True}}
