"""What was measured, put together: medians over the runs, ratios within each run, and the text of a table."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: One measurement: its `run` and `name`, what else tells it from others, and the figures.
Measured = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    seconds: float
    connections: tuple[int, ...]
    runs: int


@dataclass(frozen=True)
class Ratio:
    """The median of the runs' ratios, and the least and the greatest of them."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def progress(line: str) -> None:
    """To standard error: standard output has the table alone."""
    print(line, file=sys.stderr, flush=True)


def select(measured: Sequence[Measured], **which: Any) -> list[Measured]:
    """The measurements that have these values."""
    return [one for one in measured if all(one.get(key) == value for key, value in which.items())]


def median(measured: Sequence[Measured], figure: str, **which: Any) -> float:
    """The median over the runs of a figure. Raises ValueError where nothing was measured."""
    found = select(measured, **which)
    if not found:
        raise ValueError(f"nothing was measured of {which}")
    return statistics.median(one[figure] for one in found)


def ratio(measured: Sequence[Measured], figure: str, of: Measured, to: Measured) -> Ratio:
    """How `of` compares `to` another, each given by the values that select it: run by run, and of those the median.

    What else the machine does changes from run to run, and meets both of one run alike.
    """
    one = {entry["run"]: entry[figure] for entry in select(measured, **of)}
    other = {entry["run"]: entry[figure] for entry in select(measured, **to)}
    if not one or one.keys() != other.keys():
        raise ValueError(f"{of} and {to} were not measured in the same runs")
    ratios = [one[run] / other[run] for run in one]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def line(name: str, *cells: str) -> str:
    """A line of the table: what it is about, and its figures in columns."""
    return f"{name:34}" + "".join(f"{cell:>13}" for cell in cells)
