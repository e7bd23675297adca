"""The batcher with the stub executor: every request its own rows, whatever shares its call, fails or is late."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.batcher import Batcher
from ml.errors import DeadlineExceeded, ModelNotAvailable, Overloaded
from ml.executors.base import Arrays
from ml.executors.stub import StubExecutor
from ml.signature import Signature, TensorSpec
from ml.slots import Slot
from tests.waiting import until

SIGNATURE = Signature(
    (TensorSpec("a", "FP32", (None,)), TensorSpec("b", "INT64", ())),
    (TensorSpec("y", "FP64", (2,)), TensorSpec("z", "INT32", ())),
)


class Gate(StubExecutor):
    """The stub, which waits until it is let go and remembers the rows of its calls."""

    def __init__(self, **options: Any) -> None:
        super().__init__(SIGNATURE, **options)
        self.open = threading.Event()
        self.open.set()
        self.calls: queue.SimpleQueue[int] = queue.SimpleQueue()

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        self.calls.put(len(inputs["b"]))
        assert self.open.wait(30)
        return super().run(inputs)

    def seen(self) -> list[int]:
        return [self.calls.get() for _ in range(self.calls.qsize())]


@pytest.fixture
def make() -> Iterator[Callable[..., tuple[Batcher, Gate]]]:
    made: list[tuple[Batcher, Gate]] = []

    def batcher(
        max_batch: int = 8, queue_limit: int = 100, window: float = 0.0, **options: Any
    ) -> tuple[Batcher, Gate]:
        gate = Gate(**options)

        def sink(slots: list[Slot]) -> None:
            for one in slots:
                one.finish()

        made.append((Batcher(gate, sink, "m", 1, max_batch, queue_limit, window), gate))
        return made[-1]

    yield batcher
    for one, gate in made:
        gate.open.set()
        one.close()


def slot(values: list[float], width: int = 3, seconds: float = 30) -> Slot:
    """A row for each value: the row sums to it."""
    a = np.zeros((len(values), width), "f4")
    b = np.asarray(values, "i8")
    return Slot({"a": a, "b": b}, len(values), time.monotonic() + seconds)


def answer(asked: Slot) -> list[float]:
    assert asked.wait()
    assert asked.error is None
    assert asked.outputs is not None
    y, z = asked.outputs["y"], asked.outputs["z"]
    assert y.shape == (asked.rows, 2)
    assert (y[:, 1] == y[:, 0] + 1).all()
    assert (z == y[:, 0]).all()
    return [float(value) for value in y[:, 0]]


def held(batcher: Batcher, gate: Gate) -> Slot:
    """A slot that keeps the executor busy until the gate is opened."""
    gate.open.clear()
    busy = slot([1])
    batcher.submit(busy)
    assert gate.calls.get(timeout=10) == 1
    return busy


def test_what_is_queued_shares_one_call_and_each_gets_its_own(make: Callable[..., tuple[Batcher, Gate]]) -> None:
    batcher, gate = make()
    held(batcher, gate)
    slots = [slot([10, 11]), slot([20]), slot([30, 31, 32])]
    for one in slots:
        batcher.submit(one)
    gate.open.set()
    assert [answer(one) for one in slots] == [[10, 11], [20], [30, 31, 32]]
    assert gate.seen() == [6]
    assert [one.batch for one in slots] == [6, 6, 6]


def test_rows_of_other_shapes_go_in_calls_of_their_own(make: Callable[..., tuple[Batcher, Gate]]) -> None:
    batcher, gate = make()
    held(batcher, gate)
    slots = [slot([1], width=2), slot([2], width=5), slot([3], width=2)]
    for one in slots:
        batcher.submit(one)
    gate.open.set()
    assert [answer(one) for one in slots] == [[1], [2], [3]]
    assert sorted(gate.seen()) == [1, 2]


def test_a_large_request_is_cut_and_put_together_and_lets_others_through(
    make: Callable[..., tuple[Batcher, Gate]],
) -> None:
    batcher, gate = make(max_batch=8)
    held(batcher, gate)
    large, small = slot([float(i) for i in range(50)]), slot([99])
    batcher.submit(large)
    batcher.submit(small)
    gate.open.set()
    assert answer(small) == [99]
    assert answer(large) == [float(i) for i in range(50)]
    calls = gate.seen()
    assert max(calls) <= 8
    assert sum(calls) == 51
    assert calls[1] <= 8, "the small one was in the second call, not after all of the large one"
    assert small.started <= large.computed


def test_a_row_that_fails_is_found_and_the_others_are_answered(make: Callable[..., tuple[Batcher, Gate]]) -> None:
    batcher, gate = make(fail_on=13.0)
    held(batcher, gate)
    slots = [slot([10, 11]), slot([12, 13, 14]), slot([15])]
    for one in slots:
        batcher.submit(one)
    gate.open.set()
    assert answer(slots[0]) == [10, 11]
    assert answer(slots[2]) == [15]
    guilty = slots[1]
    assert guilty.wait()
    assert list(guilty.failures) == [1]
    assert "13.0" in guilty.failures[1]
    assert guilty.outputs is not None
    assert guilty.outputs["y"][[0, 2], 0].tolist() == [12, 14]


def test_a_large_request_with_failing_rows_keeps_the_places_of_the_others(
    make: Callable[..., tuple[Batcher, Gate]],
) -> None:
    batcher, _ = make(max_batch=4, fail_on=13.0)
    asked = slot([13, 13, 13, 13, 1, 2, 13, 3, 4])
    batcher.submit(asked)
    assert asked.wait()
    assert sorted(asked.failures) == [0, 1, 2, 3, 6]
    assert asked.outputs is not None
    assert asked.outputs["z"][[4, 5, 7, 8]].tolist() == [1, 2, 3, 4]


def test_what_fails_on_every_row_has_no_outputs(make: Callable[..., tuple[Batcher, Gate]]) -> None:
    batcher, _ = make(fail_on=13.0)
    asked = slot([13, 13, 13])
    batcher.submit(asked)
    assert asked.wait()
    assert sorted(asked.failures) == [0, 1, 2]
    assert asked.outputs is None


def test_rows_whose_deadline_passed_in_the_queue_are_not_computed(make: Callable[..., tuple[Batcher, Gate]]) -> None:
    batcher, gate = make()
    held(batcher, gate)
    late, fine = slot([5], seconds=0.01), slot([6])
    batcher.submit(late)
    batcher.submit(fine)
    assert not late.wait()
    gate.open.set()
    assert answer(fine) == [6]
    assert isinstance(late.error, DeadlineExceeded)
    assert gate.seen() == [1]


def test_a_full_queue_refuses_at_once_and_takes_again_when_it_has_room(
    make: Callable[..., tuple[Batcher, Gate]],
) -> None:
    batcher, gate = make(queue_limit=10)
    held(batcher, gate)
    waiting = [slot([1.0] * 5), slot([2.0] * 5)]
    for one in waiting:
        batcher.submit(one)
    with pytest.raises(Overloaded, match="10 rows wait"):
        batcher.submit(slot([3]))
    assert batcher.queued == 10
    gate.open.set()
    for one in waiting:
        answer(one)
    last = slot([4])
    batcher.submit(last)
    assert answer(last) == [4]
    assert batcher.queued == 0


def test_closing_answers_what_is_queued_and_takes_no_more(make: Callable[..., tuple[Batcher, Gate]]) -> None:
    batcher, gate = make(max_batch=4)
    held(batcher, gate)
    slots = [slot([1, 2]), slot([float(i) for i in range(20)])]
    for one in slots:
        batcher.submit(one)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    gate.open.set()
    assert answer(slots[0]) == [1, 2]
    assert answer(slots[1]) == [float(i) for i in range(20)]
    closing.join(10)
    assert not closing.is_alive()
    with pytest.raises(ModelNotAvailable):
        batcher.submit(slot([1]))


def test_thousands_of_random_requests_from_many_threads(make: Callable[..., tuple[Batcher, Gate]]) -> None:
    batcher, _ = make(max_batch=16, queue_limit=10_000, fail_on=500.0)
    wrong: list[str] = []

    def client(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(150):
            values = [float(rng.randrange(1000)) for _ in range(rng.randrange(1, 41))]
            asked = slot(values, width=rng.choice([1, 3]))
            batcher.submit(asked)
            asked.wait()
            bad = {row for row, value in enumerate(values) if value == 500.0}
            if set(asked.failures) != bad or (asked.outputs is None) != (len(bad) == len(values)):
                wrong.append(f"failures {asked.failures} for {values}")
            elif asked.outputs is not None:
                got = asked.outputs["z"].tolist()
                if any(got[row] != value for row, value in enumerate(values) if row not in bad):
                    wrong.append(f"{got} for {values}")

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_a_window_lets_the_first_wait_for_others_until_the_batch_is_full(make: Any) -> None:
    batcher, gate = make(max_batch=3, window=30.0)
    slots = [slot([value]) for value in (1.0, 2.0, 3.0)]
    for one in slots:
        batcher.submit(one)
        until(batcher._arrived.empty, 10, "it was taken")
    assert [answer(one) for one in slots] == [[1.0], [2.0], [3.0]]
    assert gate.seen() == [3]


def test_a_window_ends_and_is_counted_from_the_arrival(make: Any) -> None:
    batcher, gate = make(window=0.02)
    first = slot([1.0])
    batcher.submit(first)
    assert answer(first) == [1.0]
    assert first.started - first.entered >= 0.02
    assert gate.seen() == [1]
    batcher.window = 0.0
    blocking = held(batcher, gate)
    batcher.window = 30.0
    late = slot([2.0])
    late.entered -= 31  # it has waited long enough for the executor
    batcher.submit(late)
    gate.open.set()
    assert answer(blocking) is not None
    assert answer(late) == [2.0]


def test_closing_does_not_wait_for_a_window(make: Any) -> None:
    batcher, _ = make(window=30.0)
    only = slot([4.0])
    batcher.submit(only)
    batcher.close(10)
    assert answer(only) == [4.0]
