"""More clients than can be served: what becomes of those that are let in, of those that are not, and of all else.

Those that are refused ask again at once, which is worse than clients that heed Retry-After.
"""

from __future__ import annotations

import threading
import time
import urllib.request

from benchmarks.report import Measured, Options, line, median, progress
from benchmarks.servers import FOR_OTHERS, STORED, THREADS, Server

PLACES = THREADS - FOR_OTHERS
CLIENTS = (PLACES, 4 * PLACES)
PATHS = ("/health/live", "/api/v1/results?max_results=1")


def measure(server: Server, options: Options) -> list[Measured]:
    """As many clients as there are places, then four times as many; `server` has the default number of threads."""
    asked = server.row(STORED)
    found: list[Measured] = []
    for number in range(options.runs):
        for clients in CLIENTS:
            progress(f"overload, run {number + 1}: {clients} clients")
            others = Others(server)
            figures = asked.load(clients, options.seconds, refusals=True)
            found.append(
                {
                    "run": number,
                    "clients": clients,
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
    made = [line("overload, stored", "clients", "req/s", "p99 ms", "refused/s", "p99 ms", "others ms")]
    for clients in CLIENTS:
        keys = ("rate", "p99", "refused_rate", "refused_p99", "others_worst")
        figures = [f"{median(found, key, clients=clients):,.1f}" for key in keys]
        made.append(line(STORED, str(clients), *figures))
    return made
