"""What was marked of a version: how often each truth was called what, and how much of it is right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo.database import Database

from ml.database.client import READ_MS, Document
from ml.database.documents import now

#: Pairs of truth and label: a version with more has no classes.
MOST_PAIRS = 10_000
#: The least text, number and truth value: MongoDB compares within a type, so each begins all of one.
TYPES: tuple[Any, ...] = ("", -math.inf, False)


@dataclass(frozen=True, slots=True)
class Pair:
    """How many results with this truth have this label; None: no label."""

    truth: str
    label: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Marks:
    """The pairs that are there, most frequent first, and when they were counted."""

    pairs: list[Pair]
    at: datetime

    @property
    def total(self) -> int:
        return sum(pair.count for pair in self.pairs)

    @property
    def compared(self) -> int:
        """Marked results that have a label."""
        return sum(pair.count for pair in self.pairs if pair.label is not None)

    @property
    def right(self) -> int:
        return sum(pair.count for pair in self.pairs if pair.label == pair.truth)

    @property
    def accuracy(self) -> float | None:
        """The share of right labels, 0 to 1; None where nothing can be compared."""
        return self.right / self.compared if self.compared else None


def marks_of(db: Database[Document], model: str, version: int, scope: Mapping[str, Any]) -> Marks:
    """Those of a version's results in `scope`, read by the index of what is marked alone."""
    at, counts = now(), dict[tuple[str, str | None], int]()
    for least in TYPES:
        pipeline: list[Document] = [
            {"$match": {"model": model, "version": version, **scope, "truth": {"$gte": least}}},
            {"$group": {"_id": {"truth": "$truth", "label": "$label"}, "count": {"$sum": 1}}},
            {"$sort": {"count": -1, "_id": 1}},
            {"$limit": MOST_PAIRS},
        ]
        for group in db["results"].aggregate(pipeline, hint="marked", maxTimeMS=READ_MS):
            truth, label = group["_id"].get("truth"), group["_id"].get("label")
            if not isinstance(truth, list):  # of texts, which is no text
                key = (truth_text(truth), label if isinstance(label, str) else None)
                counts[key] = counts.get(key, 0) + group["count"]
    pairs = [Pair(truth, label, count) for (truth, label), count in counts.items()]
    return Marks(sorted(pairs, key=lambda pair: -pair.count), at)


def truth_text(truth: Any) -> str:
    """A truth as people write it: 7 for 7.0 too, true and false."""
    if isinstance(truth, bool):
        return "true" if truth else "false"
    if isinstance(truth, float) and truth.is_integer():
        return str(int(truth))
    return str(truth)
