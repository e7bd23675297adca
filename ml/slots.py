"""A request's rows on their way through batcher, executor and store."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from ml.executors.base import Arrays


@dataclass(slots=True, eq=False)
class Slot:
    """What one request asks of one model version, and what became of it.

    Made by the thread that asks, which then waits. The batch thread sets `outputs` or `error`, the commit thread sets
    `stored` or `error` and ends the wait.
    """

    inputs: Arrays
    rows: int
    #: Monotonic time after which nobody waits any more.
    deadline: float
    #: What is stored beside the rows; None where nothing is.
    record: Record | None = None
    outputs: dict[str, NDArray[Any]] | None = None
    error: Exception | None = None
    entered: float = field(default_factory=time.monotonic)
    started: float = 0.0
    computed: float = 0.0
    #: Rows of the executor call that this slot was part of.
    batch: int = 0
    _done: threading.Event = field(default_factory=threading.Event)

    def finish(self) -> None:
        """End the wait; what is set now is the answer."""
        self._done.set()

    def wait(self) -> bool:
        """Wait for the answer; False where the deadline came first."""
        return self._done.wait(max(0.0, self.deadline - time.monotonic()))

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.deadline

    @property
    def timing(self) -> dict[str, float | int]:
        """Milliseconds in the queue and in the executor, and the rows of the batch."""
        return {
            "queue_ms": round((self.started - self.entered) * 1000, 3),
            "compute_ms": round((self.computed - self.started) * 1000, 3),
            "batch": self.batch,
        }

    def shape_key(self) -> tuple[tuple[int, ...], ...]:
        """Slots with the same key can share one executor call."""
        return tuple(np.shape(array)[1:] for array in self.inputs.values())


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
