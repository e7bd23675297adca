"""A closed loop of HTTP clients: each keeps one connection and sends its next request when the last was answered."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """What one run gave: requests a second, and milliseconds at the median and the 99th percentile."""

    rate: float
    p50: float
    p99: float


def run(port: int, path: str, body: bytes, headers: dict[str, str], connections: int, seconds: float) -> Figures:
    """Send `body` over and over. Raises RuntimeError where any answer is not 200."""
    times: list[list[float]] = [[] for _ in range(connections)]
    wrong: list[str] = []
    end = time.perf_counter() + seconds

    def client(own: list[float]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.perf_counter() < end and not wrong:
            began = time.perf_counter()
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            own.append(time.perf_counter() - began)
            if answer.status != 200:
                wrong.append(f"{answer.status}: {text[:200]!r}")

    threads = [threading.Thread(target=client, args=(own,)) for own in times]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    if wrong:
        raise RuntimeError(wrong[0])
    all_times = sorted(value * 1000 for own in times for value in own)
    return Figures(len(all_times) / took, statistics.median(all_times), all_times[int(len(all_times) * 0.99)])
