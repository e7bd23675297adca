"""How much may be under way at once: what comes beyond it is refused at once, rather than waiting unseen."""

from __future__ import annotations

import queue

from ml.errors import Overloaded
from ml.metrics import refused


class Admission:
    """A number of places. Threads wait for what they asked for, so threads are what runs out first."""

    def __init__(self, places: int, what: str) -> None:
        # Its methods are atomic and quick; a semaphore takes several locks for each.
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(places):
            self._free.put(None)
        self._places = places
        self._what = what

    def take(self) -> None:
        """Take a place, or raise Overloaded; never waits."""
        try:
            self._free.get_nowait()
        except queue.Empty:
            refused.labels(self._what).inc()
            raise Overloaded(f"{self._places} {self._what} are under way already") from None

    def inside(self) -> int:
        """How many places are taken."""
        return self._places - self._free.qsize()

    def give(self) -> None:
        """Give a place back."""
        self._free.put(None)
