"""Reads the registry again for requests that ask for what is not known, not more often than is bearable."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pymongo.errors import PyMongoError

from ml.errors import StorageUnavailable

#: So many readings may come at once, and then one in so many seconds.
MOST = 5
SECONDS = 0.2


class Readings:
    """Calls `read` for who asks, or lets it be. Safe to use from any thread."""

    def __init__(self, read: Callable[[], object]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._left = float(MOST)
        self._began = 0.0
        self._error: str | None = None

    def ask(self) -> None:
        """Read, unless that is done too often. Raises StorageUnavailable where the last reading failed."""
        came = time.monotonic()
        with self._lock:
            now = time.monotonic()
            left = min(MOST, self._left + (now - self._began) / SECONDS)
            # What began to be read after this request came is new enough for it.
            if self._began < came and left >= 1:
                self._left, self._began, self._error = left - 1, now, None
                try:
                    self._read()
                except PyMongoError as error:
                    self._error = type(error).__name__
            if self._error is not None:
                raise StorageUnavailable(f"the registry cannot be read: {self._error}")
