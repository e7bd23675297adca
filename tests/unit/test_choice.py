"""Which way of running a model is chosen from a table of those that were tried."""

from __future__ import annotations

from typing import Any

import pytest

from ml.build.choice import ways
from ml.build.report import BuildError


def row(executor: str, threads: int = 1, reason: str | None = None, **ms: float) -> dict[str, Any]:
    cells = {size.removeprefix("b"): value for size, value in ms.items()}
    made: dict[str, Any] = {"executor": executor, "threads": threads, "ok": reason is None, "ms": cells}
    return made if reason is None else {**made, "reason": reason}


KERAS = row("keras", b1=0.001)


def names(found: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(way["executor"], way["threads"]) for way in found]


def test_the_lowest_time_at_1_to_32_is_the_best_and_the_yardstick_is_none() -> None:
    table = [KERAS, row("a", b1=1, b8=1, b32=8, b128=1), row("b", b1=1, b8=1, b32=7, b128=900)]
    assert names(ways(table, None)) == [("b", 1), ("a", 1)]


def test_threads_must_be_worth_what_they_take() -> None:
    assert names(ways([KERAS, row("a", 1, b1=1.0), row("a", 2, b1=0.8)], None))[0] == ("a", 1)
    assert names(ways([KERAS, row("a", 1, b1=1.0), row("a", 2, b1=0.7)], None))[0] == ("a", 2)
    assert names(ways([KERAS, row("a", 1, b1=1.0), row("a", 8, b1=0.7)], None))[0] == ("a", 1)


def test_only_sizes_that_all_have_are_compared() -> None:
    """One that took too much memory for a batch of 32 is not quicker for it."""
    table = [KERAS, row("a", b1=2.0), row("b", b1=1.0, b8=8.0, b32=32.0)]
    assert names(ways(table, None))[0] == ("b", 1)


def test_what_is_not_equal_is_none() -> None:
    table = [KERAS, row("a", reason="differs", b1=0.1), row("b", b1=1)]
    assert names(ways(table, None)) == [("b", 1)]
    with pytest.raises(BuildError, match="no way of running the model agrees with Keras: a differs; c is not there"):
        ways([KERAS, row("a", reason="differs"), row("c", reason="is not there")], None)


def test_one_can_be_forced() -> None:
    table = [KERAS, row("a", b1=1), row("b", 1, b1=3), row("b", 2, b1=2), row("c", reason="differs by 3")]
    assert names(ways(table, "b")) == [("b", 2), ("b", 1), ("a", 1)]
    with pytest.raises(BuildError, match="ALMANAC_EXECUTOR asks for 'c', which cannot run the model: differs by 3"):
        ways(table, "c")
    with pytest.raises(BuildError, match="'d', which cannot run the model: it is not installed here"):
        ways(table, "d")
