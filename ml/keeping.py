"""Loads what a replica keeps loaded, one version after the other, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from ml.loaded import Loaded
from ml.versions import Key, Version

log = logging.getLogger(__name__)

#: Seconds until what could not be fetched is tried again.
RETRY_SECONDS = 5.0
#: How often a load that is waited for is left, in seconds, to see whether the process stops.
LOOK_SECONDS = 0.1


class Keeper:
    """Loads what `missing` gives, the first first, whenever it is woken."""

    def __init__(self, loaded: Loaded, missing: Callable[[], Sequence[Version]]) -> None:
        self._loaded = loaded
        self._missing = missing
        self._woken = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="keeper", daemon=True)
        #: Whether everything that was missing was tried once.
        self.done_once = False

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Tell that something may be missing."""
        self._woken.set()

    def close(self) -> None:
        """Stop, whether it was started or not; a load that is under way goes on."""
        self._stop.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()

    def _loop(self) -> None:
        self._woken.wait()
        while not self._stop.is_set():
            self._woken.clear()
            try:
                self._round()
            except Exception:
                log.exception("keeping models loaded failed; it goes on")
            self._woken.wait(RETRY_SECONDS)

    def _round(self) -> None:
        """Try each once. What is missing is asked anew each time: it may change while one is loaded."""
        tried: set[Key] = set()
        while version := next((version for version in self._missing() if version.key not in tried), None):
            tried.add(version.key)
            load = self._loaded.start(version)
            while not load.done.wait(LOOK_SECONDS):
                if self._stop.is_set():
                    return
        self.done_once = True
