"""How a version was built, as a table: what was tried, whether it is equal to Keras, how long a call takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NAMES = {"keras": "Keras", "onnx": "ONNX Runtime", "tf": "TensorFlow", "openvino": "OpenVINO"}


@dataclass(frozen=True, slots=True)
class Row:
    """One way of running the model."""

    executor: str
    threads: int | None
    #: Whether it is the one that was chosen.
    chosen: bool
    #: What the comparison with Keras said.
    proof: str
    ok: bool
    #: Milliseconds a call, by batch size as the columns have them; an empty text where it was not timed.
    times: list[str]


@dataclass(frozen=True, slots=True)
class BuildTable:
    """The table of a build. `sizes` are rows a call."""

    sizes: list[int]
    rows: list[Row]
    log: str
    seconds: float | None
    attempts: float | None
    started: str | None


def build_table(version: Mapping[str, Any]) -> BuildTable:
    """Of a version's document as the API gives it; whatever of it is missing is left out."""
    build = version.get("build")
    build = build if isinstance(build, Mapping) else {}
    table = [row for row in _listed(build.get("table")) if isinstance(row, Mapping)]
    sizes = sorted({int(size) for row in table for size in _times(row) if str(size).isdigit()})
    ways = [way for way in _listed(build.get("ways")) if isinstance(way, Mapping)] or [{}]
    chosen = (ways[0].get("executor"), ways[0].get("threads"))
    log = build.get("log") or []
    return BuildTable(
        sizes=sizes,
        rows=[_row(row, sizes, chosen) for row in table],
        log="\n".join(map(str, log)) if isinstance(log, list) else str(log),
        seconds=_number(build.get("seconds")),
        attempts=_number(build.get("attempts")),
        started=build.get("started"),
    )


def milliseconds(value: Any) -> str:
    """A time in three figures; an empty text where there is none."""
    if not isinstance(value, (int, float)):
        return ""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _row(row: Mapping[str, Any], sizes: list[int], chosen: tuple[Any, Any]) -> Row:
    executor = str(row.get("executor", ""))
    ok = bool(row.get("ok"))
    if executor == "keras":
        proof = "the yardstick"
    elif ok:
        proof = f"equal on {_number(row.get('rows')) or 0:,} rows, at most {_number(row.get('worst')) or 0:.1e} off"
    else:
        proof = str(row.get("reason", "not equal"))
    times = _times(row)
    return Row(
        executor=NAMES.get(executor, executor),
        threads=row.get("threads"),
        chosen=executor != "keras" and (executor, row.get("threads")) == chosen,
        proof=proof,
        ok=ok,
        times=[milliseconds(times.get(str(size))) for size in sizes],
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) else None


def _times(row: Mapping[str, Any]) -> Mapping[str, Any]:
    times = row.get("ms")
    return times if isinstance(times, Mapping) else {}
