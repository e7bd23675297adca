"""Reading again for who asks: at once where that is seldom, together where it is not."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from ml import readings
from ml.errors import StorageUnavailable
from ml.readings import Readings
from tests.waiting import until


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still; `asked` counts who looked at it."""
    made = SimpleNamespace(now=100.0, asked=0)

    def monotonic() -> float:
        made.asked += 1
        made.now += 1e-6
        return float(made.now)

    monkeypatch.setattr(readings, "time", SimpleNamespace(monotonic=monotonic))
    return made


def test_a_few_at_once_and_then_one_each_fifth_of_a_second(clock: Any) -> None:
    reads: list[int] = []
    asked = Readings(lambda: reads.append(1))
    for _ in range(100):
        asked.ask()
    assert len(reads) == readings.MOST
    for number in range(1, 4):
        clock.now += readings.SECONDS * 1.01
        for _ in range(10):
            asked.ask()
        assert len(reads) == readings.MOST + number
    clock.now += 3600
    for _ in range(100):
        asked.ask()
    assert len(reads) == readings.MOST + 3 + readings.MOST


def test_who_asks_while_another_reads_shares_the_next_reading_and_its_failure(clock: Any) -> None:
    reads: list[int] = []
    go_on = threading.Event()
    failed: list[str] = []

    def read() -> None:
        reads.append(1)
        if len(reads) == 1:
            assert go_on.wait(20)
        else:
            raise AutoReconnect("db-17")

    asked = Readings(read)

    def ask() -> None:
        try:
            asked.ask()
        except StorageUnavailable as error:
            failed.append(str(error))

    first = threading.Thread(target=ask)
    first.start()
    until(lambda: reads)
    seen = clock.asked
    others = [threading.Thread(target=ask) for _ in range(8)]
    for thread in others:
        thread.start()
    until(lambda: clock.asked == seen + 8, what="all have come")
    go_on.set()
    for thread in (first, *others):
        thread.join()
    assert len(reads) == 2
    assert failed == ["the registry cannot be read: AutoReconnect"] * 8


def test_what_is_asked_after_a_failure_in_time_is_told_of_it_and_later_it_is_read_again() -> None:
    down = True

    def read() -> None:
        if down:
            raise AutoReconnect("db-17")

    asked = Readings(read)
    for _ in range(2 * readings.MOST):
        with pytest.raises(StorageUnavailable):
            asked.ask()
    down = False

    def works() -> bool:
        try:
            asked.ask()
        except StorageUnavailable:
            return False
        return True

    began = time.monotonic()
    until(works)
    assert time.monotonic() - began < 10 * readings.SECONDS
