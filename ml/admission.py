"""How much may be under way at once: what comes beyond it is refused at once, rather than waiting unseen."""

from __future__ import annotations

import queue

from ml.errors import Overloaded
from ml.metrics import later, refused


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

    def take(self) -> None:
        """Take a place, or raise Overloaded; never waits."""
        try:
            self._free.get_nowait()
        except queue.Empty:
            raise self._overloaded() from None

    def refusal(self) -> Overloaded | None:
        """What `take` would raise, for who is to be refused without more; None while there is a place."""
        return self._overloaded() if self._free.empty() else None

    def _overloaded(self) -> Overloaded:
        later(self._refused, 1)
        return Overloaded(f"{self._places} {self._what} are under way already")

    def inside(self) -> int:
        """How many places are taken."""
        return self._places - self._free.qsize()

    def give(self) -> None:
        """Give a place back."""
        self._free.put(None)
