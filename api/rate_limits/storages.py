"""Where requests are counted, in ways that the `limits` package does not have: on the app's own client, and in memory.

Each counts in fixed windows: one begins with the first request of a key after the last one ended.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import pymongo
from limits.storage import Storage
from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError, PyMongoError

from ml.database.client import Document

#: How long one may wait for the database to count a request, in seconds.
PATIENCE = 1.0
#: Keys that may be in memory before those whose windows are over are looked for.
MANY = 10_000


class DatabaseCounts(Storage):
    """Counts in a collection of the database that the app has a client of; one round trip a request.

    The package's own would open a second client, ask three times, and wait for the journal.
    """

    STORAGE_SCHEME = ["almanac-database"]

    def __init__(self, uri: str | None = None, *, counts: Collection[Document], **options: Any) -> None:
        super().__init__(uri, **options)
        self._counts = counts

    @property
    def base_exceptions(self) -> type[Exception]:
        return PyMongoError

    def counted(self, key: str, seconds: int) -> tuple[int, float]:
        """Count one more: the requests of this window, and the seconds that are left of it."""
        over = {"$lte": [{"$ifNull": ["$expires", "$$NOW"]}, "$$NOW"]}
        update = [
            {
                "$set": {
                    "count": {"$cond": [over, 1, {"$add": ["$count", 1]}]},
                    "expires": {"$cond": [over, {"$add": ["$$NOW", seconds * 1000]}, "$expires"]},
                }
            }
        ]
        # By the database's clock alone: those of servers may differ.
        shown = {"count": True, "left": {"$subtract": ["$expires", "$$NOW"]}}
        for last in (False, True):
            try:
                with pymongo.timeout(PATIENCE):
                    found = self._counts.find_one_and_update(
                        {"_id": key}, update, shown, upsert=True, return_document=ReturnDocument.AFTER
                    )
                break
            except DuplicateKeyError:  # two began the window at the same moment
                if last:
                    raise
        assert found is not None
        return int(found["count"]), found["left"] / 1000

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return self.counted(key, expiry)[0]

    def get(self, key: str) -> int:
        with pymongo.timeout(PATIENCE):
            found = self._counts.find_one({"_id": key, "$expr": {"$gt": ["$expires", "$$NOW"]}})
        return int(found["count"]) if found else 0

    def get_expiry(self, key: str) -> float:
        with pymongo.timeout(PATIENCE):
            found = self._counts.find_one({"_id": key}) or {"expires": datetime.now(UTC)}
        until: float = found["expires"].timestamp()
        return until

    def check(self) -> bool:
        try:
            self.get("")
        except PyMongoError:
            return False
        return True

    def reset(self) -> int | None:
        return self._counts.delete_many({}).deleted_count

    def clear(self, key: str) -> None:
        self._counts.delete_one({"_id": key})


class MemoryCounts(Storage):
    """Counts in this process. The package's own starts a thread for each hundredth of a second that has a request."""

    STORAGE_SCHEME = ["almanac-memory"]

    def __init__(self, uri: str | None = None, **options: Any) -> None:
        super().__init__(uri, **options)
        self._lock = threading.Lock()
        #: The requests of each window, and when it ends (monotonic).
        self._windows: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def counted(self, key: str, seconds: int) -> tuple[int, float]:
        """Count one more: the requests of this window, and the seconds that are left of it."""
        now = time.monotonic()
        with self._lock:
            count, until = self._windows.get(key, (0, 0.0))
            if until <= now:
                count, until = 0, now + seconds
                if len(self._windows) >= MANY:
                    self._drop(now)
            self._windows[key] = (count + 1, until)
        return count + 1, until - now

    def _drop(self, now: float) -> None:
        self._windows = {key: window for key, window in self._windows.items() if window[1] > now}
        if len(self._windows) >= MANY:
            # Who has many addresses must not have the memory too: those that came first begin anew.
            for key in list(self._windows)[: MANY // 2]:
                del self._windows[key]

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return self.counted(key, expiry)[0]

    def get(self, key: str) -> int:
        count, until = self._windows.get(key, (0, 0.0))
        return count if until > time.monotonic() else 0

    def get_expiry(self, key: str) -> float:
        return time.time() + max(0.0, self._windows.get(key, (0, 0.0))[1] - time.monotonic())

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        number = len(self._windows)
        self._windows = {}
        return number

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)
