"""A start with nothing else running: until it is ready, until the first prediction, and memory after a load."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import deepest, family, is_mongod, pss
from benchmarks.report import Options, progress
from benchmarks.servers import FUNCTION, STORED, Asked, Server, almanac, flask, threads_for

Start = Callable[[], contextlib.AbstractContextManager[Server]]

ALMANAC = "Almanac, run.py serve"


def measure(file: Path, data: Path, options: Options) -> list[dict[str, Any]]:
    """Both in every run. The model is registered and built, and its files are in the page cache."""
    threads = threads_for(options.connections)
    found = []
    for number in range(options.runs):
        one = _start(lambda: almanac(data, threads), STORED, options, _memory_of_almanac)
        found.append({"run": number, "name": ALMANAC, **one})
        one = _start(lambda: flask(FUNCTION, file), FUNCTION, options, lambda pid: {"worker": pss(deepest(pid))})
        found.append({"run": number, "name": FUNCTION, **one})
        for one in found[-2:]:
            progress(f"run {number + 1}: {one['name']}: ready after {one['ready']:.2f} s")
    return found


def _start(start: Start, asks: str, options: Options, memory: Callable[[int], dict[str, int]]) -> dict[str, Any]:
    began = time.perf_counter()
    with start() as server:
        ready = time.perf_counter() - began
        asked = server.row(asks)
        predict(asked)
        first = time.perf_counter() - began
        asked.load(max(options.connections), options.seconds)
        return {"ready": ready, "first": first, **memory(server.pid)}


def predict(asked: Asked) -> None:
    """One prediction. Raises RuntimeError where it is not answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", asked.port, timeout=60)
    try:
        connection.request("POST", asked.path, asked.body, asked.headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"the first prediction was answered {answer.status}: {text[:300]!r}")


def _memory_of_almanac(pid: int) -> dict[str, int]:
    """Bytes: the HTTP worker, all processes of Almanac with it, and mongod."""
    own = [process.pid for process in family(pid) if not is_mongod(process)]
    mongod = [process.pid for process in family(pid) if is_mongod(process)]
    return {"worker": pss(deepest(pid, "http")), "all": sum(map(pss, own)), "mongod": sum(map(pss, mongod))}
