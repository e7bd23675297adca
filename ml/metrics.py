"""What is counted and timed, by the names in docs/metrics.md.

Where PROMETHEUS_MULTIPROC_DIR names a directory, the figures of all processes that share it are summed: the supervisor
gives one to those that it starts. It is read when this module is imported.

A process has one lock for all its figures, and under load threads wait for it in turn. What comes with each prediction
is therefore only noted (`later`), and counted by a thread of its own twice a second, or when the figures are asked for.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

#: Seconds: from a tenth of a millisecond, which a small model takes, to the deadline.
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

requests = Counter(
    "almanac_requests", "Predict requests that were answered, by HTTP status.", ["model", "version", "code"]
)
rows = Counter("almanac_rows", "Rows that were computed, or on which the model failed.", ["model", "version", "status"])
batch_rows = Histogram(
    "almanac_batch_rows", "Rows in one executor call.", ["model", "version"], buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
queue_seconds = Histogram(
    "almanac_queue_seconds",
    "From a request's arrival at its model to its executor call.",
    ["model", "version"],
    buckets=SECONDS,
)
compute_seconds = Histogram("almanac_compute_seconds", "One executor call.", ["model", "version"], buckets=SECONDS)
commit_seconds = Histogram("almanac_commit_seconds", "One durable commit of inputs and results.", buckets=SECONDS)
commit_rows = Histogram(
    "almanac_commit_rows", "Results in one commit.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
)
refused = Counter("almanac_refused", "Requests that were refused since too much was under way.", ["reason"])
job_rows = Counter("almanac_job_rows", "Rows of jobs that were committed.", ["model", "version", "status"])

deliveries = Counter("almanac_deliveries", "Attempts to deliver a webhook, by what came of them.", ["outcome"])


def count_request(model: tuple[str, int | str], code: int) -> None:
    """Count an answered predict request of a (name, version)."""
    key = (*model, code)
    count = _counts.get(key)
    if count is None:
        count = _counts[key] = requests.labels(model[0], str(model[1]), str(code)).inc
    add(count, 1)


#: Looking a counter up by its labels takes longer than counting.
_counts: dict[tuple[str, int | str, int], Callable[[float], None]] = {}

#: Seconds between two countings of what was noted.
PERIOD = 0.5
AT_A_TIME, SUMS_AT_A_TIME = 16, 256
_noted: deque[tuple[Callable[[float], None], float]] = deque()
_added: deque[tuple[Callable[[float], None], float]] = deque()
_counting = threading.Lock()
_thread: threading.Thread | None = None


def later(count: Callable[[float], None], amount: float) -> None:
    """Note that `count`, such as a counter's `inc` or a histogram's `observe`, is to be called with the amount."""
    _noted.append((count, amount))
    if _thread is None:
        _start()


def add(count: Callable[[float], None], amount: float) -> None:
    """The same for a counter's `inc`, where amounts are as well counted together."""
    _added.append((count, amount))
    if _thread is None:
        _start()


def flush() -> None:
    """Count what was noted until now."""
    with _counting:
        together: dict[Callable[[float], None], float] = {}
        for number in range(len(_added)):
            count, amount = _added.popleft()
            together[count] = together.get(count, 0.0) + amount
            if number % SUMS_AT_A_TIME == SUMS_AT_A_TIME - 1:
                time.sleep(0)
        for count, amount in together.items():
            count(amount)
        for number in range(len(_noted)):
            count, amount = _noted.popleft()
            count(amount)
            if number % AT_A_TIME == AT_A_TIME - 1:
                time.sleep(0)  # let a prediction have the interpreter


def _start() -> None:
    global _thread
    with _counting:
        if _thread is None:
            _thread = threading.Thread(target=_count, name="metrics", daemon=True)
            _thread.start()


def _count() -> None:
    never = threading.Event()
    while True:
        flush()
        never.wait(PERIOD)


def exposition() -> bytes:
    """All figures in Prometheus' text format; those of other processes are half a second old at most."""
    flush()
    if not os.environ.get(DIRECTORY):
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
