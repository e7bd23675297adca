"""Many requests, one executor call, each its own rows again: the thread that owns a loaded model."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import DeadlineExceeded, ExecutionFailed, ModelNotAvailable
from ml.executors.base import Arrays, Executor
from ml.slots import Slot

#: Rows in one executor call.
MAX_BATCH = 64

Sink = Callable[[list[Slot]], None]


class Batcher:
    """Takes everything that is queued the moment the executor is free; there is no idle wait.

    `sink` is given every slot that was computed or failed, on the batch thread; it must not block for long.
    """

    def __init__(self, executor: Executor, sink: Sink, name: str, max_batch: int = MAX_BATCH) -> None:
        self._executor = executor
        self._sink = sink
        self._max_batch = max_batch
        self._queue: queue.SimpleQueue[Slot | None] = queue.SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._loop, name=f"batch-{name}", daemon=True)
        self._thread.start()

    def submit(self, slot: Slot) -> None:
        """Queue a slot; `slot.wait()` tells when it is done. Raises ModelNotAvailable after `close`."""
        with self._lock:
            if self._closed:
                raise ModelNotAvailable("this version is being unloaded")
            self._queue.put(slot)

    def close(self, timeout: float = 30) -> None:
        """Let what is queued finish, then close the executor."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self._executor.close()

    def _loop(self) -> None:
        while True:
            taken, last = self._take()
            for group in _groups(taken):
                self._run(group)
            if last:
                return

    def _take(self) -> tuple[list[Slot], bool]:
        """Wait for one slot, then take what is there up to a full batch."""
        first = self._queue.get()
        if first is None:
            return [], True
        taken, rows = [first], first.rows
        while rows < self._max_batch:
            try:
                slot = self._queue.get_nowait()
            except queue.Empty:
                break
            if slot is None:
                return taken, True
            taken.append(slot)
            rows += slot.rows
        return taken, False

    def _run(self, slots: list[Slot]) -> None:
        live = []
        for slot in slots:
            if slot.expired:
                slot.error = DeadlineExceeded("the deadline passed in the queue; nothing was computed or stored")
                slot.finish()
            else:
                live.append(slot)
        if not live:
            return
        started, rows = time.monotonic(), sum(slot.rows for slot in live)
        try:
            outputs = self.run_rows(_joined(live), rows)
        except Exception as error:  # noqa: BLE001  whatever a model raises is the model's failure
            if len(live) > 1:  # the others' rows are not to blame
                for slot in live:
                    self._run([slot])
                return
            live[0].error = ExecutionFailed(f"the model failed on these rows: {error}")
        else:
            at = 0
            for slot in live:
                slot.outputs = {name: values[at : at + slot.rows] for name, values in outputs.items()}
                at += slot.rows
        computed = time.monotonic()
        for slot in live:
            slot.started, slot.computed, slot.batch = started, computed, rows
        self._sink(live)

    def run_rows(self, inputs: Arrays, rows: int) -> dict[str, NDArray[Any]]:
        """All outputs for `rows` rows, in calls of at most a full batch. Raises what the executor raises."""
        parts = []
        for at in range(0, rows, self._max_batch):
            part = {name: values[at : at + self._max_batch] for name, values in inputs.items()}
            outputs = self._executor.run(part)
            wanted = min(self._max_batch, rows - at)
            for name, values in outputs.items():
                if len(values) != wanted:
                    raise ValueError(f"output {name!r} has {len(values)} rows for {wanted} rows in")
            parts.append(outputs)
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _joined(slots: Sequence[Slot]) -> Arrays:
    if len(slots) == 1:
        return slots[0].inputs
    return {name: np.concatenate([slot.inputs[name] for slot in slots]) for name in slots[0].inputs}


def _groups(slots: list[Slot]) -> list[list[Slot]]:
    """Slots by the shape of their rows: those with other free dimensions cannot share a call."""
    groups: dict[Any, list[Slot]] = {}
    for slot in slots:
        groups.setdefault(slot.shape_key(), []).append(slot)
    return list(groups.values())
