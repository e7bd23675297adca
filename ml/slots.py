"""A request's rows on their way through batcher, executor and store."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId
from numpy.typing import NDArray

from ml.errors import ExecutionFailed
from ml.executors.base import Arrays


def _held() -> threading.Lock:
    """A lock that is held until the answer is there: the cheapest way for one thread to wait for another."""
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class Slot:
    """What one request asks of one model version, and what became of it.

    Made by the thread that asks, which then waits. The batch thread sets `outputs` and `failures`, or `error`; the
    commit thread, where something is stored, may set `error`; whoever has the slot last ends the wait.
    """

    inputs: Arrays
    rows: int
    #: Monotonic time after which nobody waits any more.
    deadline: float
    #: What is stored beside the rows; None where nothing is.
    record: Record | None = None
    #: All outputs by name, first axis the rows; None where no row was computed.
    outputs: Mapping[str, NDArray[Any]] | None = None
    #: Rows on which the model failed, with what it said. Their outputs are zeros.
    failures: dict[int, str] = field(default_factory=dict)
    #: Why there is no answer: a deadline, or the database.
    error: Exception | None = None
    entered: float = field(default_factory=time.monotonic)
    started: float = 0.0
    computed: float = 0.0
    #: Rows of the executor call that the first of its rows was part of.
    batch: int = 0
    _timing: dict[str, float | int] | None = None
    _done: threading.Lock = field(default_factory=_held)

    def finish(self) -> None:
        """End the wait; what is set now is the answer."""
        self._done.release()

    def wait(self) -> bool:
        """Wait for the answer; False where the deadline came first. Only once."""
        return self._done.acquire(timeout=max(0.0, self.deadline - time.monotonic()))

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.deadline

    @property
    def timing(self) -> dict[str, float | int]:
        """Milliseconds in the queue and in the executor, and the rows of the batch; once it was computed."""
        if self._timing is None:
            self._timing = {
                "queue_ms": round((self.started - self.entered) * 1000, 3),
                "compute_ms": round((self.computed - self.started) * 1000, 3),
                "batch": self.batch,
            }
        return self._timing

    def failure(self, place: str) -> ExecutionFailed | None:
        """What to tell the one who asked, where the model failed on a row; `place` names the list of rows."""
        if not self.failures:
            return None
        issues = {f"{place}[{row}]": message for row, message in sorted(self.failures.items())[:20]}
        return ExecutionFailed(f"the model failed on {len(self.failures)} of {self.rows} rows", issues)

    @property
    def shape_key(self) -> tuple[tuple[int, ...], ...]:
        """Slots with the same key can share one executor call."""
        return tuple([array.shape[1:] for array in self.inputs.values()])


@dataclass(slots=True)
class Record:
    """What the store writes for a predict: one result a row, and the rows themselves as inputs where they are new."""

    model: dict[str, Any]
    owner: str | None
    request: str | None
    protocol: str
    meta: list[dict[str, Any] | None] | None
    #: The inputs' ids, by row; new ones where `store_inputs`.
    inputs: list[ObjectId] | None
    results: list[ObjectId]
    store_inputs: bool
    classes: list[str] | None
    #: Each row's own owner, where the rows were stored inputs.
    owners: list[str | None] | None = None
