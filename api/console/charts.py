"""Charts as SVG from a template of ours: where bars are, and round numbers for an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: The inner size of a chart, in its own units.
WIDTH, HEIGHT = 760, 150


@dataclass(frozen=True, slots=True)
class Column:
    """A bar of a chart, in its units; `title` says what it is."""

    x: float
    y: float
    width: float
    height: float
    title: str
    #: Whether the value is not known.
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """A place of an axis with its words."""

    at: float
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars from left to right, with both axes. `summary` says in words what it shows."""

    title: str
    unit: str
    below: str
    columns: list[Column]
    y_ticks: list[Tick]
    x_ticks: list[Tick]
    summary: str
    width: int = WIDTH
    height: int = HEIGHT


def chart_of(
    title: str,
    unit: str,
    below: str,
    values: Sequence[float | None],
    titles: Sequence[str],
    x_ticks: Sequence[tuple[int, str]],
    summary: str,
) -> Chart:
    """A bar for each value, and for None a mark that it is not known. `x_ticks` name bars by number."""
    step = WIDTH / max(len(values), 1)
    top = round_up(max((value for value in values if value is not None), default=0))
    columns = []
    for index, (value, words) in enumerate(zip(values, titles, strict=True)):
        height = HEIGHT * (value or 0) / top
        x, width = round(index * step + step * 0.1, 2), round(step * 0.8, 2)
        if value is None:
            columns.append(Column(x, 0, width, HEIGHT, words, unknown=True))
        elif value:
            shown = max(height, 1.5)  # something is something, however little
            columns.append(Column(x, round(HEIGHT - shown, 2), width, round(shown, 2), words))
    return Chart(
        title=title,
        unit=unit,
        below=below,
        columns=columns,
        y_ticks=[Tick(HEIGHT - HEIGHT * part / 2, number_of(top * part / 2)) for part in range(3)],
        x_ticks=[Tick(round((index + 0.5) * step, 2), words) for index, words in x_ticks],
        summary=summary,
    )


def round_up(value: float) -> float:
    """The next of 2, 4, 6, 8, 10, 20 ...: half of each is as round."""
    if value <= 2:
        return 2
    power = 10 ** math.floor(math.log10(value))
    return next(float(step * power) for step in (1, 2, 4, 6, 8, 10) if step * power >= value)


def number_of(value: float) -> str:
    """A number of an axis: `12,000` is `12k`."""
    for size, words in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{words}"
    return f"{value:g}"
