"""How much may be under way at once: what comes beyond it is refused at once, rather than waiting unseen."""

from __future__ import annotations

import queue

from ml.errors import Overloaded
from ml.metrics import add, refused


class Admission:
    """A number of places. Threads wait for what they asked for, so threads are what runs out first."""

    def __init__(self, places: int, what: str) -> None:
        # Its methods are atomic and quick; a semaphore takes several locks for each.
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(places):
            self._free.put(None)
        self._places = places
        self._what = what
        self._refused = refused.labels(what).inc
        self._refusal = self._overloaded()

    def take(self) -> None:
        """Take a place, or raise Overloaded; never waits."""
        try:
            self._free.get_nowait()
        except queue.Empty:
            add(self._refused, 1)
            raise self._overloaded() from None

    def refusal(self) -> Overloaded | None:
        """What `take` would raise, the same each time, for who is refused without more; None while there is a place."""
        if not self._free.empty():
            return None
        add(self._refused, 1)
        return self._refusal

    def _overloaded(self) -> Overloaded:
        return Overloaded(f"{self._places} {self._what} are under way already")

    def inside(self) -> int:
        """How many places are taken."""
        return self._places - self._free.qsize()

    def give(self) -> None:
        """Give a place back."""
        self._free.put(None)
