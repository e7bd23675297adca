"""How long a call takes, at the batch sizes that a server sees."""

from __future__ import annotations

import functools
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np

from ml.build.rows import Inputs
from ml.executors.base import Executor

SIZES = (1, 8, 32, 128)
#: For one batch size. A call that takes longer is made twice all the same, the first to warm up.
CELL_SECONDS, MOST_CALLS = 2.0, 50
#: A batch size is left out that is expected to take longer than this for one call.
LONGEST_CALL_SECONDS = 10.0


def executor_ms(executor: Executor, rows: Inputs, memory_mb: int) -> dict[str, float]:
    """Milliseconds a call for each batch size, made of `rows` over and over.

    Stops before a batch size that would take too long, or take the process near `memory_mb`.
    """
    cells: dict[str, float] = {}
    size_before = 0
    grown = 0.0
    for size in SIZES:
        times = size / size_before if size_before else 1.0
        slow = size_before and cells[str(size_before)] * times > LONGEST_CALL_SECONDS * 1000
        if slow or _peak_mb() + grown * times > 0.8 * memory_mb:
            break
        batch = {name: np.resize(values, (size, *values.shape[1:])) for name, values in rows.items()}
        before = _peak_mb()
        cells[str(size)] = median_ms(functools.partial(executor.run, batch))
        grown, size_before = _peak_mb() - before, size
    return cells


def median_ms(call: Callable[[], object]) -> float:
    """The median of as many calls as fit into two seconds, 50 at most and 1 at least, after one to warm up."""
    call()
    times: list[float] = []
    began = time.perf_counter()
    while not times or (len(times) < MOST_CALLS and time.perf_counter() - began < CELL_SECONDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(statistics.median(times) * 1000, 4)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
