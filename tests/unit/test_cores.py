"""Which core threads run on: one for all under many requests, anywhere otherwise, another where that one is busy."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml import cores
from ml.cores import ALLOWED, MANY, ByCost, OneCore

TICKS = os.sysconf("SC_CLK_TCK")

pytestmark = pytest.mark.skipif(len(ALLOWED) < 2, reason="one core: nothing to choose")


def on_a_thread(function: Callable[[], Any]) -> Any:
    """What the function gives on a thread of its own, which has this one's affinity to begin with."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(function()))
    thread.start()
    thread.join()
    return answers[0]


def where() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0))


class Machine:
    """A /proc with two cores, and this process' thread."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.busy = {0: 0.0, 1: 0.0}
        self.own = 0.0
        self.elapsed = 0.0

    def write(self) -> None:
        lines = ["cpu  1 2 3 4 5 6 7 8 0 0"]
        for core, busy in self.busy.items():
            idle = self.elapsed - busy
            lines.append(f"cpu{core} {round(busy * TICKS)} 0 0 {round(idle * TICKS)} 0 0 0 0 0 0")
        (self.directory / "stat").write_text("\n".join([*lines, "intr 5", ""]))
        task = self.directory / "self/task" / str(threading.get_native_id())
        task.mkdir(parents=True, exist_ok=True)
        (task / "schedstat").write_text(f"{round(self.own * 1e9)} 5 6\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    os.sched_setaffinity(0, ALLOWED)


def test_many_requests_keep_threads_to_one_core_and_few_let_them_go() -> None:
    inside = [MANY * 4]
    core = OneCore(lambda: inside[0])

    def thread() -> list[frozenset[int]]:
        seen = [where()]
        for number in (MANY * 4, 1):
            inside[0] = number
            for _ in range(100):
                core.arrive()
            seen.append(where())
        return seen

    before, many, few = on_a_thread(thread)
    assert before == ALLOWED
    assert many == {core.number}
    assert few == ALLOWED


def test_one_after_the_other_is_kept_nowhere() -> None:
    core = OneCore(lambda: 1)

    def thread() -> frozenset[int]:
        for _ in range(100):
            core.arrive()
        return where()

    assert on_a_thread(thread) == ALLOWED


@pytest.mark.parametrize(
    ("others", "there", "moves"),
    [(0.9, 0.1, True), (0.9, 0.8, False), (0.1, 0.0, False), (0.0, 0.0, False)],
)
def test_the_core_is_left_where_another_has_more_room(
    machine: Machine, others: float, there: float, moves: bool
) -> None:
    """`others` and `there`: the shares of its core and of the other one that other threads take."""
    core = OneCore(lambda: MANY * 4, frozenset({0, 1}), machine.directory)
    for _ in range(20):
        core.arrive()
    here = core.number
    assert here is not None
    machine.write()
    core.look()
    assert core.number == here  # one look tells nothing
    machine.elapsed, machine.own = 10.0, 5.0
    machine.busy = {here: min(10.0, 5.0 + 10 * others), 1 - here: 10 * there}
    machine.write()
    core.look()
    assert (core.number != here) is moves
    core.arrive()
    assert where() == {core.number}


def test_a_system_that_tells_no_load_leaves_the_core_as_it_is(tmp_path: Path) -> None:
    core = OneCore(lambda: 9, frozenset({0, 1}), tmp_path)
    here = core.number
    core.look()
    (tmp_path / "stat").write_text("cpu0 words\n")
    core.look()
    core.look()
    assert core.number == here


def test_a_core_that_was_taken_away_is_not_insisted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    core = OneCore(lambda: MANY * 4)
    core.number = 4_000_000

    def thread() -> frozenset[int]:
        for _ in range(20):
            core.arrive()
        return where()

    assert on_a_thread(thread) == ALLOWED
    assert core.number is None


def test_spread_is_everywhere_and_then_as_before() -> None:
    def thread() -> tuple[frozenset[int], frozenset[int], frozenset[int]]:
        one = {min(ALLOWED)}
        os.sched_setaffinity(0, one)
        with cores.spread():
            within, started = where(), on_a_thread(where)
        return within, started, where()

    assert on_a_thread(thread) == (ALLOWED, ALLOWED, {min(ALLOWED)})


def test_long_calls_of_a_model_leave_the_core_and_short_ones_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    core = OneCore(lambda: MANY * 4)
    monkeypatch.setattr(cores, "_core", core)

    def thread() -> list[frozenset[int]]:
        seen = []
        for _ in range(20):
            cores.arrive()
        place = ByCost()
        for seconds in (0.0002, 0.05, 0.0002):
            for _ in range(100):
                place.spent(seconds)
            seen.append(where())
        return seen

    assert on_a_thread(thread) == [{core.number}, ALLOWED, {core.number}]
