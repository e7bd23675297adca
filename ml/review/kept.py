"""Counts of what was marked, kept for a moment: to read 50,000 entries of an index is most of what a page takes."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from pymongo.database import Database

from ml.database.client import Document
from ml.review.marks import Marks, marks_of

#: Seconds for which counts are kept, unless something is marked in this process.
SECONDS = 10.0
#: Fewer marks than these are counted each time: that takes a few milliseconds.
FEW = 5_000
#: Versions and owners whose counts are kept.
MOST = 100


class KeptMarks:
    """Those of the results in a database. Safe to use from any thread."""

    def __init__(self, db: Database[Document]) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._kept: OrderedDict[Any, tuple[Marks, float]] = OrderedDict()
        #: How often something was marked: what was counted before is not kept.
        self._marked = 0

    def of(self, model: str, version: int, scope: Mapping[str, Any]) -> Marks:
        """Those of a version's results in `scope`, as they were at most SECONDS ago where they are many."""
        key = (model, version, *sorted(scope.items()))
        with self._lock:
            kept = self._kept.get(key)
            marked = self._marked
        if kept is not None and time.monotonic() < kept[1]:
            return kept[0]
        counted = marks_of(self._db, model, version, scope)
        with self._lock:
            if counted.total >= FEW and marked == self._marked:
                self._kept[key] = counted, time.monotonic() + SECONDS
                self._kept.move_to_end(key)
                while len(self._kept) > MOST:
                    self._kept.popitem(last=False)
        return counted

    def forget(self) -> None:
        """Something is marked otherwise by now."""
        with self._lock:
            self._marked += 1
            self._kept.clear()
