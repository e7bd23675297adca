"""How often versions were asked and how long it took, added up from the results that are stored.

What is older than a few seconds is added up once in a process, and its sums are kept: to ask again costs what was
written since. Results that are deleted later stay in them until the process ends.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.database import Database

from ml.database.client import READ_MS, Document
from ml.errors import Overloaded
from ml.versions import Key

#: Results that are added up at a time, and seconds in which that may be done for one who asks.
CHUNK = 50_000
PATIENCE = 5.0
#: Seconds after which no result turns up with a time so old.
SETTLED = 10
#: Sums that are kept.
MOST = 512
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Sums:
    """Of one size of executor calls: rows, those on which the model failed, and milliseconds of all rows together."""

    rows: int = 0
    failed: int = 0
    queue_ms: float = 0.0
    compute_ms: float = 0.0


@dataclass(slots=True)
class Totals:
    """The sums by the number of rows in a call (0: it is not known), and when the last row was answered."""

    by_batch: dict[int, Sums] = field(default_factory=dict)
    last: datetime | None = None

    def add(self, groups: list[Document]) -> None:
        """Add what the aggregation gave."""
        for group in groups:
            batch = group["_id"] if isinstance(group["_id"], int) and group["_id"] > 0 else 0
            sums = self.by_batch.setdefault(batch, Sums())
            sums.rows += group["rows"]
            sums.failed += group["failed"]
            sums.queue_ms += group["queue_ms"]
            sums.compute_ms += group["compute_ms"]
            self.last = max(self.last or group["last"], group["last"])

    def copy(self) -> Totals:
        """The same, to go on with."""
        return Totals({batch: Sums(s.rows, s.failed, s.queue_ms, s.compute_ms) for batch, s in self.by_batch.items()},
                      self.last)  # fmt: skip


class Statistics:
    """Of the results in a database. Safe to use from any thread."""

    def __init__(self, db: Database[Document]) -> None:
        self._results = db["results"]
        #: By version and scope: what is settled, and until when that is.
        self._kept: OrderedDict[Any, tuple[Totals, datetime]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, version: Key, scope: Mapping[str, Any]) -> Totals:
        """The totals of a version's results within a scope. Raises Overloaded where that takes longer yet."""
        key = (*version, *sorted(scope.items()))
        chosen = {"model": version[0], "version": version[1], **scope}
        settled = datetime.now(UTC) - timedelta(seconds=SETTLED)
        end = time.monotonic() + PATIENCE
        with self._lock:  # one at a time adds up: others find the sums
            totals, until = self._kept.get(key, (Totals(), BEGINNING))
            while until < settled:
                if time.monotonic() > end:
                    raise Overloaded(f"the results of {version[0]}:{version[1]} are still being added up")
                reached = self._reached(chosen, until, settled)
                totals.add(self._groups(chosen, {"$gt": until, "$lte": reached}))
                until = reached
                self._keep(key, totals, until)
            fresh = totals.copy()
        fresh.add(self._groups(chosen, {"$gt": until}))
        return fresh

    def _keep(self, key: Any, totals: Totals, until: datetime) -> None:
        self._kept[key] = totals, until
        self._kept.move_to_end(key)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def _reached(self, chosen: Document, until: datetime, settled: datetime) -> datetime:
        """The time of the last result of the next chunk; all that have it belong to that."""
        match = {**chosen, "_created": {"$gt": until, "$lte": settled}}
        found = self._results.find(match, {"_created": True}, max_time_ms=READ_MS)
        last = next(iter(found.sort("_created", 1).skip(CHUNK).limit(1)), None)
        reached: datetime = last["_created"] if last is not None else settled
        return reached

    def _groups(self, chosen: Document, created: Document) -> list[Document]:
        timing = {name: {"$ifNull": [f"$timing.{name}_ms", 0]} for name in ("queue", "compute")}
        group = {
            "_id": "$timing.batch",
            "rows": {"$sum": 1},
            "failed": {"$sum": {"$cond": [{"$eq": ["$status", "failed"]}, 1, 0]}},
            "queue_ms": {"$sum": timing["queue"]},
            "compute_ms": {"$sum": timing["compute"]},
            "last": {"$max": "$_created"},
        }
        stages = [{"$match": {**chosen, "_created": created}}, {"$group": group}]
        return list(self._results.aggregate(stages, maxTimeMS=READ_MS))
