"""Which of the ways of running a model that are proven equal is taken."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ml.build.report import BuildError

#: Batch sizes that count, as far as every way has a time for them.
SIZES = ("1", "8", "32")
#: Threads are taken from requests, commits, the database and other models: twice as many must make a call this much
#: quicker to be worth it. 2 ** 0.4 is 1.32. With 1.15 small models came out with one thread or with two by chance, and
#: with two a job was slower on two cores than with one: 19,000 rows a second instead of 23,000.
PRICE_OF_THREADS = 0.4


def weighed_ms(row: Mapping[str, Any], sizes: Iterable[str]) -> float:
    """The figure by which a row of the table is compared: the geometric mean of its times, and what threads cost."""
    typical = statistics.geometric_mean(max(row["ms"][size], 1e-4) for size in sizes)
    return float(typical * row["threads"] ** PRICE_OF_THREADS)


def ways(table: Sequence[Mapping[str, Any]], forced: str | None) -> list[dict[str, Any]]:
    """The ways that agree with Keras, `{executor, threads}`, the best first; those of the `forced` executor before all.

    Raises BuildError where there is none, or none of the forced executor.
    """
    able = [row for row in table if row["ok"] and row["executor"] != "keras"]
    if not able:
        reasons = "; ".join(f"{row['executor']} {row['reason']}" for row in table if not row["ok"])
        raise BuildError(f"no way of running the model agrees with Keras: {reasons}"[:1000])
    if forced is not None and not any(row["executor"] == forced for row in able):
        reason = next((row["reason"] for row in table if row["executor"] == forced), "it is not installed here")
        raise BuildError(f"ALMANAC_EXECUTOR asks for {forced!r}, which cannot run the model: {reason}"[:1000])
    sizes = [size for size in SIZES if all(size in row["ms"] for row in able)]
    able.sort(key=lambda row: (row["executor"] != forced, weighed_ms(row, sizes)))
    return [{"executor": row["executor"], "threads": row["threads"]} for row in able]
