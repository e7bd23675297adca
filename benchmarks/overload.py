"""More requests than can be served: what becomes of those that are let in, of those that are not, and of all else.

Once from clients that ask again as soon as they are refused, which is worse than clients that heed Retry-After: so
many refusals as the server can make at all. And once from clients that come at a rate, four times what the server does.
"""

from __future__ import annotations

import threading
import time
import urllib.request

from benchmarks.report import Measured, Options, line, median, progress, ratio
from benchmarks.servers import FOR_OTHERS, STORED, THREADS, Server

PLACES = THREADS - FOR_OTHERS
TIMES = 4
#: As many clients as there are places; more than these, who ask again at once; more, who come at a rate.
FULL, AGAIN, RATE = "full", "again", "rate"
LOADS = {
    FULL: f"{PLACES} clients",
    AGAIN: f"{TIMES * PLACES}, asking again at once",
    RATE: f"{TIMES * PLACES}, {TIMES} x that rate",
}
PATHS = ("/health/live", "/api/v1/results?max_results=1")


def measure(server: Server, options: Options) -> list[Measured]:
    """Each load in turn; `server` has the default number of threads. The rate is four times that of the same run."""
    asked = server.row(STORED)
    found: list[Measured] = []
    for number in range(options.runs):
        rate = 0.0
        for load, name in LOADS.items():
            progress(f"overload, run {number + 1}: {name}")
            others = Others(server)
            figures = asked.load(
                PLACES if load == FULL else TIMES * PLACES,
                options.seconds,
                refusals=True,
                rate=TIMES * rate if load == RATE else None,
            )
            if load == FULL:
                rate = figures.rate
            found.append(
                {
                    "run": number,
                    "load": load,
                    "rate": figures.rate,
                    "p99": figures.p99,
                    "refused_rate": figures.refused_rate,
                    "refused_p99": figures.refused_p99,
                    "others_worst": others.worst(),
                }
            )
    return found


class Others:
    """Someone who looks at health and at a list meanwhile, five times a second."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ended = threading.Event()
        self._worst = 0.0
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def worst(self) -> float:
        """Milliseconds of the slowest answer. Raises RuntimeError where one was not a 200."""
        self._ended.set()
        self._thread.join()
        if self._failure is not None:
            raise RuntimeError(f"a list or health did not answer: {self._failure}")
        return self._worst * 1000

    def _look(self) -> None:
        try:
            while not self._ended.wait(0.2):
                for path in PATHS:
                    url = f"http://127.0.0.1:{self._server.port}{path}"
                    began = time.perf_counter()
                    urllib.request.urlopen(urllib.request.Request(url, headers=self._server.headers), timeout=30).read()
                    self._worst = max(self._worst, time.perf_counter() - began)
        except OSError as error:
            self._failure = error


def lines(found: list[Measured]) -> list[str]:
    """The table's part."""
    made = [line("overload, stored", "req/s", "p99 ms", "refused/s", "p99 ms", "others ms")]
    for load, name in LOADS.items():
        keys = ("rate", "p99", "refused_rate", "refused_p99", "others_worst")
        made.append(line(name, *(f"{median(found, key, load=load):,.1f}" for key in keys)))
    return made


def ratio_lines(found: list[Measured]) -> list[str]:
    """How much longer those that are let in wait."""
    return [
        f"{f'p99 of those let in, {LOADS[load]} / {LOADS[FULL]}':68}"
        f"{ratio(found, 'p99', {'load': load}, {'load': FULL})}"
        for load in (RATE, AGAIN)
    ]
