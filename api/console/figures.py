"""Figures: bars, lines and a matrix of counts as what templates draw them from; numbers here, SVG there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: The drawing that a line is laid into, whatever room it then has.
WIDTH, HEIGHT = 1000, 200
#: Parts of a long line, each drawn by its lowest and highest value.
MOST_PARTS = 400
MOST_LINES = 8
MOST_BARS = 10
#: The strongest that a cell is filled: text on it stays readable, in light and dark.
STRONGEST = 0.4


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `share` is its length in percent."""

    name: str
    value: str
    share: float
    chosen: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One line: pieces of points, between which there are values that are no numbers."""

    name: str
    pieces: list[str]


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines over the same positions; `low` and `high` are what the drawing goes from and to."""

    lines: list[Line]
    low: str
    high: str
    last: int


@dataclass(frozen=True, slots=True)
class Cell:
    """How many of one truth got one label."""

    truth: str
    label: str
    count: int
    column: int
    row: int
    opacity: float

    @property
    def right(self) -> bool:
        return self.truth == self.label


@dataclass(frozen=True, slots=True)
class Matrix:
    """Truths by labels."""

    names: list[str]
    cells: list[Cell]

    @property
    def longest(self) -> int:
        """Characters of the longest name, as far as it is shown."""
        return min(max(map(len, self.names)), 10)


def number(value: Any) -> str:
    """A value as people read it."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    return f"{float(value):.4g}" if isinstance(value, (float, np.floating)) else str(value)


def bars_of(values: Array, names: Sequence[str], chosen: str | None) -> list[Bar]:
    """The highest values with the names of their classes, highest first. What is below zero has no length."""
    flat = values.reshape(-1).astype("f8")
    order = np.argsort(-np.nan_to_num(flat, nan=-math.inf), kind="stable")[:MOST_BARS]
    finite = flat[np.isfinite(flat)]
    most = max(1.0, float(finite.max())) if finite.size else 1.0
    found = []
    for at in order:
        value = float(flat[at])
        share = 100 * min(max(value / most, 0.0), 1.0) if math.isfinite(value) else 0.0
        found.append(Bar(names[at], number(value), round(share, 2), names[at] == chosen))
    return found


def lines_of(values: Array, names: Sequence[str] = ()) -> Lines:
    """Lines of a tensor of shape (steps,) or (steps, lines)."""
    columns = values.reshape(len(values), -1).astype("f8")
    columns = columns[:, :MOST_LINES]
    finite = columns[np.isfinite(columns)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    made = []
    for index in range(columns.shape[1]):
        name = names[index] if index < len(names) else f"[{index}]" if columns.shape[1] > 1 else ""
        made.append(Line(name, _pieces(columns[:, index], low, high)))
    return Lines(made, number(low), number(high), len(columns) - 1)


def matrix_of(counts: Mapping[tuple[str, str], int], names: Sequence[str]) -> Matrix:
    """The matrix of what was counted; each truth's cells are filled by their share of it."""
    cells = []
    for row, truth in enumerate(names):
        total = sum(counts.get((truth, label), 0) for label in names)
        for column, label in enumerate(names):
            count = counts.get((truth, label), 0)
            opacity = round(0.08 + (STRONGEST - 0.08) * count / total, 3) if count else 0.0
            cells.append(Cell(truth, label, count, column, row, opacity))
    return Matrix(list(names), cells)


def _pieces(values: Array, low: float, high: float) -> list[str]:
    steps = max(len(values) - 1, 1)
    positions, kept = _thinned(values)
    height = high - low
    pieces: list[list[str]] = [[]]
    for position, value in zip(positions, kept, strict=True):
        if not math.isfinite(value):
            if pieces[-1]:
                pieces.append([])
            continue
        up = (value - low) / height if math.isfinite(height) and height else 0.5
        pieces[-1].append(f"{WIDTH * position / steps:.1f},{HEIGHT * (1 - up):.1f}")
    return [" ".join(piece) for piece in pieces if piece]


def _thinned(values: Array) -> tuple[list[int], list[float]]:
    """Positions and values of a line; of a long one the lowest and the highest value of each part."""
    if len(values) <= 2 * MOST_PARTS:
        return list(range(len(values))), values.tolist()
    positions: list[int] = []
    for part in np.array_split(np.arange(len(values)), MOST_PARTS):
        inside = np.where(np.isfinite(values[part]), values[part], np.nan)
        if np.isnan(inside).all():
            positions.append(int(part[0]))
        else:
            positions.extend(sorted({int(part[np.nanargmin(inside)]), int(part[np.nanargmax(inside)])}))
    return positions, values[positions].tolist()
