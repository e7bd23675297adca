"""What a process waits on until it is told to stop, by a signal among others."""

from __future__ import annotations

import queue
import threading


class Stop(threading.Event):
    """An event that the handler of a signal may set.

    A handler runs on the main thread, wherever that is. Is it waiting on a `threading.Event`, it may hold the very
    lock that `set` wants, and then waits for ever. A SimpleQueue may be put to at any point.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stopped = False
        self._told: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        self._stopped = True
        self._told.put(None)

    def is_set(self) -> bool:
        return self._stopped

    def clear(self) -> None:
        """Raises RuntimeError: what was told to stop stops."""
        raise RuntimeError("what was told to stop stops")

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is set, once it is or `timeout` seconds have passed."""
        if not self._stopped:
            try:
                self._told.get(timeout=timeout)
            except queue.Empty:
                return self._stopped
            self._told.put(None)  # for others who wait
        return True
