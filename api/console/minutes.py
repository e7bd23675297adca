"""How many predictions were stored in each of the last minutes, counted within a fixed time however many there are.

A minute that is over is counted once and kept in memory; what there is no time for is left to the next request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo.database import Database
from pymongo.errors import ExecutionTimeout

from api.console.recent import MOST_MS, Part
from ml.database.client import Document

MINUTES = 60
#: Seconds that one request may count. A minute that was begun is counted to its end.
BUDGET = 0.05
#: Results that are counted together, before minutes are counted one by one.
MOST_AT_ONCE = 10_000
#: More in a minute are not counted: reading so many entries of an index takes some 15 ms.
MOST = 50_000
#: A count that takes longer is given up, as one that there was no time for.
MOST_COUNT_MS = 100
#: Seconds after its end when a minute is whole: documents are stamped a little before they are stored.
SETTLED = 15
#: Callers whose minutes are kept.
MOST_PARTS = 2_000


class Minutes:
    """Counts of the results of filters, by minute. For all threads of a process."""

    def __init__(self, db: Database[Document]) -> None:
        self._db = db
        self._lock = threading.Lock()
        #: By filter: minutes that are over, with their counts.
        self._kept: dict[str, dict[datetime, int]] = {}

    def counts(self, parts: Sequence[Part], at: datetime, budget: float = BUDGET) -> list[int | None]:
        """Of the last 60 minutes, the present one last; None where it was not counted yet. `at` is in UTC."""
        present = at.replace(second=0, microsecond=0)
        minutes = [present - timedelta(minutes=back) for back in range(MINUTES)]
        deadline = time.monotonic() + budget
        found = [self._part(part, minutes, at, deadline) for part in parts]
        each = ([of[minute] for of in found] for minute in reversed(minutes))
        return [None if None in counts else sum(filter(None, counts)) for counts in each]

    def _part(self, part: Part, minutes: list[datetime], at: datetime, deadline: float) -> dict[datetime, int | None]:
        """Of one filter, the newest minutes first."""
        kept = self._of(part, minutes[-1])
        missing = [minute for minute in minutes if minute not in kept]
        found: dict[datetime, int | None] = dict.fromkeys(minutes)
        found.update(kept)
        found.update(self._newest(part, missing))
        for minute in missing:
            if found[minute] is None and time.monotonic() < deadline:
                found[minute] = self._count(part, minute)
        settled = at - timedelta(minutes=1, seconds=SETTLED)
        with self._lock:
            kept.update({minute: n for minute, n in found.items() if n is not None and minute <= settled})
        return found

    def _newest(self, part: Part, missing: Sequence[datetime]) -> dict[datetime, int]:
        """The counts of those minutes that the newest results reach over; of all where they are few."""
        since = {**part[0], "_created": {"$gte": missing[-1], "$lt": missing[0] + timedelta(minutes=1)}}
        steps: list[dict[str, Any]] = [
            {"$match": since},
            {"$sort": {"_created": -1}},
            {"$limit": MOST_AT_ONCE},
            {"$project": {"_id": False, "_created": True}},
            {"$group": {"_id": {"$dateTrunc": {"date": "$_created", "unit": "minute"}}, "n": {"$sum": 1}}},
        ]
        groups = self._db["results"].aggregate(steps, hint=part[1], maxTimeMS=MOST_MS)
        counted = {group["_id"]: int(group["n"]) for group in groups}
        if sum(counted.values()) < MOST_AT_ONCE:
            return {minute: counted.get(minute, 0) for minute in missing}
        oldest = min(counted)  # perhaps not the whole of it
        return {minute: counted.get(minute, 0) for minute in missing if minute > oldest}

    def _of(self, part: Part, oldest: datetime) -> dict[datetime, int]:
        key = repr(sorted(part[0].items()))
        with self._lock:
            if key not in self._kept and len(self._kept) >= MOST_PARTS:
                self._kept.pop(next(iter(self._kept)))
            kept = self._kept.setdefault(key, {})
            for minute in [minute for minute in kept if minute < oldest]:
                del kept[minute]
        return kept

    def _count(self, part: Part, minute: datetime) -> int | None:
        where: dict[str, Any] = {**part[0], "_created": {"$gte": minute, "$lt": minute + timedelta(minutes=1)}}
        try:
            # Not count_documents: this command counts entries of the index alone.
            answer = self._db.command(
                "count", "results", query=where, hint=part[1], limit=MOST, maxTimeMS=MOST_COUNT_MS
            )
        except ExecutionTimeout:
            return None
        return int(answer["n"])
