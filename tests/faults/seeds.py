"""How much is tried, and what is random about it: from TEST_RUNS and TEST_SEED."""

from __future__ import annotations

import os
import time
import zlib

RUNS = int(os.environ.get("TEST_RUNS", "5"))
#: The seed of the first run; the next has the next. Another each time, where none is asked for.
# Processes that share the tests must name them alike: to them, their run is what is random.
_SHARED = os.environ.get("PYTEST_XDIST_TESTRUNUID")
_RANDOM = zlib.crc32(_SHARED.encode()) if _SHARED else time.time_ns() // 1_000_000
FIRST = int(os.environ.get("TEST_SEED", _RANDOM % 1_000_000))
#: More than in every run of the whole suite.
LONG = "TEST_RUNS" in os.environ


def seeds(runs: int) -> range:
    """The seeds of so many runs."""
    return range(FIRST, FIRST + runs)
