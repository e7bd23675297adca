"""Lists of results, their order and what lies beyond, each within one window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from ml.database.client import READ_MS, Document
from ml.review.kept import KeptMarks
from ml.review.marks import Marks
from ml.review.windows import MOST_VERSIONS, WINDOW, Further, Wanted, Window, marked_window, window_of

#: What a list has of each result.
LISTED = ("model", "version", "status", "label", "score", "truth", "note", "error", "input", "job", "owner", "_created")
#: Of what has no label the output, where it is short: bytes of a document.
SHORT: Document = {
    "$cond": [
        {"$and": [{"$eq": [{"$type": "$label"}, "missing"]}, {"$lt": [{"$bsonSize": "$$ROOT"}, 4096]}]},
        "$output",
        "$$REMOVE",
    ]
}
#: Models with two classes that are looked up to tell how certain their scores are.
MOST_BINARY = 1000


class Review:
    """The collection `results`, as people look through it. `scope` is in each call what the caller may see."""

    def __init__(self, db: Database[Document]) -> None:
        self._db = db
        self._marks = KeptMarks(db)

    def page(self, wanted: Wanted, scope: Mapping[str, Any], skip: int, limit: int) -> list[Document]:
        """A part of what is wanted in its window, each with the fields of a list."""
        window = self._window(wanted, scope)
        if window is None:
            return []
        shown = dict.fromkeys(LISTED, True)
        return self._read(
            window,
            [
                *self._order(wanted, window, shown),
                {"$skip": skip},
                {"$limit": limit},
                _shown({**shown, "output": SHORT}),
            ],
        )

    def ids(self, wanted: Wanted, scope: Mapping[str, Any]) -> list[ObjectId]:
        """The ids of all that is wanted in its window, in order."""
        window = self._window(wanted, scope)
        if window is None:
            return []
        found = self._read(window, [*self._order(wanted, window, {"_id": True}), _shown({"_id": True})])
        return [document["_id"] for document in found]

    def first_unmarked(self, ids: Sequence[ObjectId], scope: Mapping[str, Any]) -> ObjectId | None:
        """The first of these, in their order, of which nobody said what is true; None where there is none."""
        wanted = {"$and": [{"_id": {"$in": list(ids)}}, {"truth": None}, dict(scope)]}
        there = {one["_id"] for one in self._db["results"].find(wanted, {"_id": True}, max_time_ms=READ_MS)}
        return next((id_ for id_ in ids if id_ in there), None)

    def further(self, wanted: Wanted, scope: Mapping[str, Any]) -> Further | None:
        """Where the next window begins; None where this one has all there is, or nothing tells what comes after it."""
        window = self._window(wanted, scope)
        if window is None or window.sort is None:
            return None
        name = next(iter(window.sort))
        last = [
            *window.candidates(),
            {"$skip": WINDOW - 1},
            {"$limit": 2},
            {"$project": {"_id": name == "_id", name: True}},
        ]
        found = [document.get(name) for document in self._read(window, last)]
        if len(found) < 2:
            return None
        if isinstance(found[0], ObjectId):
            return Further(after=found[0])
        if not isinstance(found[0], datetime):
            return None  # another program's
        # Many results have one time, those of a chunk: so many of them are in this window.
        later = {"$match": {"_created": {"$gt": found[0]}}}
        counted = self._read(
            window, [{"$match": window.match}, later, {"$limit": window.skip + WINDOW}, {"$count": "n"}]
        )
        above = counted[0]["n"] if counted else 0
        return Further(until=found[0], passed=window.skip + WINDOW - above)

    def marks(self, model: str, version: int, scope: Mapping[str, Any]) -> Marks:
        """What was marked of a version, and what it was called, a moment ago."""
        return self._marks.of(model, version, scope)

    def marked(self) -> None:
        """To be told once a result was marked, changed or deleted."""
        self._marks.forget()

    def _window(self, wanted: Wanted, scope: Mapping[str, Any]) -> Window | None:
        marked = marked_window(wanted, scope)
        if marked is not None and self._fits(marked):
            return marked
        versions: list[tuple[str, int]] = []
        if not scope and wanted.job is None and (wanted.model is None or wanted.version is None):
            of = {"name": wanted.model} if wanted.model is not None else {}
            found = self._db["models"].find(of, {"name": True, "version": True}, max_time_ms=READ_MS)
            newest = found.sort("_id", -1).limit(MOST_VERSIONS)
            versions = [(one["name"], one["version"]) for one in newest if "name" in one and "version" in one]
        return window_of(wanted, scope, versions)

    def _fits(self, window: Window) -> bool:
        """Whether a window has all that it could have, told by the index alone."""
        answer = self._db.command(
            "count", "results", query=window.match, hint=window.index, limit=WINDOW + 1, maxTimeMS=READ_MS
        )
        return int(answer["n"]) <= WINDOW

    def _order(self, wanted: Wanted, window: Window, shown: Mapping[str, Any]) -> list[Document]:
        """The window in the order that is wanted."""
        stages = window.stages()
        if wanted.least:
            kept = {**shown, "_created": True, "certainty": self._certainty(wanted)}
            return [*stages, {"$project": kept}, {"$sort": {"certainty": 1, "_created": -1, "_id": 1}}]
        if window.sort is None:
            return [*stages, {"$project": {**shown, "_created": True}}, {"$sort": {"_created": -1, "_id": 1}}]
        return stages

    def _certainty(self, wanted: Wanted) -> Any:
        """The score; of a model with two classes and one value that of the class which the value speaks for."""
        of = {"name": wanted.model} if wanted.model is not None else {}
        fields = {"name": True, "version": True, "outputs": True}
        two = self._db["models"].find({**of, "classes": {"$size": 2}}, fields, max_time_ms=READ_MS).limit(MOST_BINARY)
        binary = [{"m": one.get("name"), "v": one.get("version")} for one in two if _is_one_value(one)]
        if not binary:
            return "$score"
        either = {"$max": ["$score", {"$subtract": [1, "$score"]}]}
        return {"$cond": [{"$in": [{"m": "$model", "v": "$version"}, {"$literal": binary}]}, either, "$score"]}

    def _read(self, window: Window, pipeline: list[Document]) -> list[Document]:
        return list(self._db["results"].aggregate(pipeline, hint=window.index, maxTimeMS=READ_MS))


def _shown(fields: Mapping[str, Any]) -> Document:
    return {"$project": dict(fields)}


def _is_one_value(model: Mapping[str, Any]) -> bool:
    """Whether a model has one output of one value a row."""
    outputs = model.get("outputs")
    return isinstance(outputs, list) and len(outputs) == 1 and all(size == 1 for size in outputs[0].get("shape", [0]))
