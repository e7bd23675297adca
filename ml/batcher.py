"""Many requests, one executor call, each its own rows again: the thread that owns a loaded model."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml import metrics
from ml.cores import ByCost, anywhere
from ml.errors import DeadlineExceeded, ModelNotAvailable, Overloaded
from ml.executors.base import Arrays, Executor
from ml.metrics import add, later
from ml.slots import Slot

#: Rows in one executor call, and rows that may wait for one, where nothing else is said.
MAX_BATCH = 64
QUEUE_LIMIT = 1024

Sink = Callable[[list[Slot]], None]
Outputs = dict[str, NDArray[Any]]


class Piece(NamedTuple):
    """Rows `start` to `stop` of a slot: all of it, or what fits one call."""

    slot: Slot
    start: int
    stop: int


class Batcher:
    """Takes everything that is queued the moment the executor is free; no idle wait but a `window` that is set.

    `sink` is given every slot that was computed, in whole, on the batch thread; it must not block for long. A slot with
    more rows than a batch is run in pieces, between which others get their turn.
    """

    def __init__(
        self,
        executor: Executor,
        sink: Sink,
        model: str,
        version: int,
        max_batch: int = MAX_BATCH,
        queue_limit: int = QUEUE_LIMIT,
        window: float = 0.0,
    ) -> None:
        #: Seconds that the first of a batch waits for others to come, from its arrival on; may be changed at any time.
        self.window = window
        self._executor = executor
        self._sink = sink
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._arrived: queue.SimpleQueue[Slot | None] = queue.SimpleQueue()
        self._closed = False
        labels = (model, str(version))
        self._batch_rows = metrics.batch_rows.labels(*labels).observe
        self._queue_seconds = metrics.queue_seconds.labels(*labels).observe
        self._compute_seconds = metrics.compute_seconds.labels(*labels).observe
        self._succeeded = metrics.rows.labels(*labels, "succeeded").inc
        self._failed = metrics.rows.labels(*labels, "failed").inc
        self._place = ByCost()
        self._lock = threading.Lock()
        #: Rows that were accepted and not yet taken; guarded by the lock.
        self._rows = 0
        #: Where large slots go on at their next turn, and what was computed of them; the thread's own.
        self._rest: deque[tuple[Slot, int]] = deque()
        self._parts: dict[Slot, list[tuple[int, Outputs | None]]] = {}
        self._thread = threading.Thread(target=self._loop, name=f"batch-{model}:{version}", daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """Rows that wait."""
        return self._rows

    def submit(self, slot: Slot) -> None:
        """Queue a slot; `slot.wait()` tells when it is done. Raises Overloaded, or ModelNotAvailable after `close`.

        A slot that is larger than the whole queue is taken where nothing waits.
        """
        with self._lock:
            if self._closed:
                raise ModelNotAvailable("this version is being unloaded")
            if self._rows and self._rows + slot.rows > self._queue_limit:
                metrics.refused.labels("queue").inc()
                raise Overloaded(f"{self._rows} rows wait for the model already; the limit is {self._queue_limit}")
            self._rows += slot.rows
            self._arrived.put(slot)

    def close(self, timeout: float = 30) -> None:
        """Let what is queued finish, then close the executor."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._arrived.put(None)
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self._executor.close()

    def _loop(self) -> None:
        anywhere()  # not where the thread happens to be that loaded the model
        last = False
        while not last or self._rest:
            pieces, ended = self._take(wait=not last)
            last = last or ended
            for group in _groups(pieces):
                self._run(group)

    def _take(self, *, wait: bool) -> tuple[list[Piece], bool]:
        """Up to a full batch of what is there; `wait` for one where nothing is. The second value: closed."""
        pieces: list[Piece] = []
        later: list[tuple[Slot, int]] = []
        room, arrived, ended = self._max_batch, 0, False

        def give(slot: Slot, start: int, most: int) -> int:
            if slot.expired:
                self._parts.pop(slot, None)
                _expire(slot)
                return 0
            stop = min(slot.rows, start + most)
            pieces.append(Piece(slot, start, stop))
            if stop < slot.rows:
                later.append((slot, stop))
            return stop - start

        # A large slot leaves half a call to those that came after it.
        share = room if self._arrived.empty() else max(1, room // 2)
        while self._rest and share > 0:
            taken = give(*self._rest.popleft(), share)
            share, room = share - taken, room - taken
        until = 0.0
        while room > 0:
            try:
                slot = self._next(wait=wait and not pieces, until=until)
            except queue.Empty:
                break
            if slot is None:
                ended = True
                break
            arrived += slot.rows
            if not pieces and self.window > 0:
                until = slot.entered + self.window
            room -= give(slot, 0, room)
        self._rest.extend(later)
        with self._lock:
            self._rows -= arrived
        return pieces, ended

    def _next(self, *, wait: bool, until: float) -> Slot | None:
        """What arrived next: `wait` for it, or wait until a monotonic time. Raises queue.Empty; None: closed."""
        if wait or self._closed:
            return self._arrived.get(block=wait)
        left = until - time.monotonic() if until else 0.0
        return self._arrived.get(timeout=left) if left > 0 else self._arrived.get_nowait()

    def _run(self, pieces: list[Piece]) -> None:
        started = time.monotonic()
        rows = sum(piece.stop - piece.start for piece in pieces)
        cpu = time.thread_time()
        outputs = self._call(pieces, rows)
        computed = time.monotonic()
        self._place.spent(time.thread_time() - cpu)
        later(self._batch_rows, rows)
        later(self._compute_seconds, computed - started)
        at, done = 0, []
        for piece in pieces:
            slot, count = piece.slot, piece.stop - piece.start
            part = None if outputs is None else {name: values[at : at + count] for name, values in outputs.items()}
            at += count
            if piece.start == 0:
                slot.started, slot.batch = started, rows
                later(self._queue_seconds, started - slot.entered)
            slot.computed = computed
            if self._put_together(piece, part):
                done.append(slot)
        if done:
            failures = sum(len(slot.failures) for slot in done)
            add(self._succeeded, sum(slot.rows for slot in done) - failures)
            if failures:
                add(self._failed, failures)
            self._sink(done)

    def _put_together(self, piece: Piece, part: Outputs | None) -> bool:
        """Add a piece's outputs to its slot's; True when that was the last."""
        slot = piece.slot
        if piece.start == 0 and piece.stop == slot.rows:
            slot.outputs = part
            return True
        self._parts.setdefault(slot, []).append((piece.stop - piece.start, part))
        if piece.stop < slot.rows:
            return False
        parts = self._parts.pop(slot)
        some = next((outputs for _, outputs in parts if outputs is not None), None)
        if some is not None:
            filled = [outputs or _zeros(some, rows) for rows, outputs in parts]
            slot.outputs = {name: np.concatenate([outputs[name] for outputs in filled]) for name in some}
        return True

    def _call(self, pieces: list[Piece], rows: int) -> Outputs | None:
        """The outputs for all rows of the pieces; rows on which the model fails are noted, and zeros.

        None where it fails on every row, since nothing then tells the outputs' shapes.
        """
        try:
            outputs = self._executor.run(_joined(pieces))
            for name, values in outputs.items():
                if len(values) != rows:
                    raise ValueError(f"output {name!r} has {len(values)} rows for {rows} rows in")
            return outputs
        except Exception as error:  # noqa: BLE001  whatever a model raises is the model's failure
            if rows == 1:
                (piece,) = pieces
                piece.slot.failures[piece.start] = f"{type(error).__name__}: {error}"[:2000]
                return None
        left, right = _halves(pieces, rows // 2)
        one, two = self._call(left, rows // 2), self._call(right, rows - rows // 2)
        if one is None or two is None:
            some = one or two
            if some is None:
                return None
            one = one or _zeros(some, rows // 2)
            two = two or _zeros(some, rows - rows // 2)
        return {name: np.concatenate([one[name], two[name]]) for name in one}


def _expire(slot: Slot) -> None:
    slot.error = DeadlineExceeded("the deadline passed in the queue; nothing was computed or stored")
    slot.finish()


def _joined(pieces: list[Piece]) -> Arrays:
    parts = [
        p.slot.inputs
        if p.stop - p.start == p.slot.rows
        else {name: values[p.start : p.stop] for name, values in p.slot.inputs.items()}
        for p in pieces
    ]
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _halves(pieces: list[Piece], rows: int) -> tuple[list[Piece], list[Piece]]:
    """The first `rows` rows, and the others."""
    left: list[Piece] = []
    right: list[Piece] = []
    for slot, start, stop in pieces:
        middle = min(stop, start + max(rows, 0))
        if middle > start:
            left.append(Piece(slot, start, middle))
        if middle < stop:
            right.append(Piece(slot, middle, stop))
        rows -= stop - start
    return left, right


def _zeros(like: Outputs, rows: int) -> Outputs:
    return {name: np.zeros((rows, *values.shape[1:]), values.dtype) for name, values in like.items()}


def _groups(pieces: list[Piece]) -> list[list[Piece]]:
    """Pieces by the shape of their rows: those with other free dimensions cannot share a call."""
    if len(pieces) == 1:
        return [pieces]
    groups: dict[Any, list[Piece]] = {}
    for piece in pieces:
        groups.setdefault(piece.slot.shape_key, []).append(piece)
    return list(groups.values())
