"""How long a call takes, at the batch sizes that a server sees."""

from __future__ import annotations

import contextlib
import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ml.build.rows import Inputs
from ml.executors.base import Executor

SIZES = (1, 8, 32, 128)
#: For one batch size. A call that takes longer is made twice all the same, the first to warm up.
CELL_SECONDS, MOST_CALLS = 0.4, 50
#: A batch size is left out for which one call is expected to take longer than this.
LONGEST_CALL_SECONDS = 3.0


def executor_ms(executor: Executor, rows: Inputs, memory_mb: int) -> dict[str, float]:
    """Milliseconds a call for each batch size, made of `rows` over and over.

    Batch size 1 is always there; a further one is left out, with all after it, that would by the one before it take
    too long, or take the process near `memory_mb`.
    """
    cells: dict[str, float] = {}
    before, needed = 0, 0.0
    for size in SIZES:
        if before:
            times = size / before
            too_long = cells[str(before)] * times > LONGEST_CALL_SECONDS * 1000
            if too_long or _memory_mb("VmRSS") + needed * times > 0.8 * memory_mb:
                break
        batch = {name: np.resize(values, (size, *values.shape[1:])) for name, values in rows.items()}
        # Sets the peak back to what is in use now (proc(5)), so that it tells what this batch takes.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        idle = _memory_mb("VmRSS")
        cells[str(size)] = median_ms(functools.partial(executor.run, batch))
        before, needed = size, _memory_mb("VmHWM") - idle
    return cells


def median_ms(call: Callable[[], object]) -> float:
    """The median of as many calls as fit into 0.4 seconds, 50 at most and 1 at least, after one to warm up."""
    call()
    times: list[float] = []
    began = time.perf_counter()
    while not times or (len(times) < MOST_CALLS and time.perf_counter() - began < CELL_SECONDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(statistics.median(times) * 1000, 4)


def _memory_mb(what: str) -> float:
    """This process's VmRSS (now) or VmHWM (at its peak)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{what}:")[2].split(maxsplit=1)[0]) / 1024
