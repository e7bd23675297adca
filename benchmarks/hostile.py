"""`make bench PART=hostile`: predictions while hostile model files are thrown at the server, and what came of each."""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import requests
from pymongo import MongoClient

from benchmarks.machine import describe, in_a_line
from benchmarks.part import carried_out, keep
from benchmarks.report import Measured, line, median, progress, select
from benchmarks.rows import WARM_CONNECTIONS, WARM_SECONDS
from benchmarks.servers import STORED, Asked, Server, almanac, register, save_model, threads_for
from tests.hostile_models import CORPUS

BEFORE, THROWN, AFTER = "before", "while they are thrown", "after"
NAME = "hostile"
UPLOADS = 4


class Thrown:
    """All of the corpus, uploaded a few at a time by threads of its own; over when each has ended."""

    def __init__(self, server: Server, data: Path) -> None:
        self._url = f"http://127.0.0.1:{server.port}/api/v1/models"
        self._headers = server.headers
        self._client: MongoClient[dict[str, Any]] = MongoClient((data / "mongo.uri").read_text().strip(), tz_aware=True)
        self._models = self._client.get_default_database()["models"]
        self._pool = ThreadPoolExecutor(UPLOADS)
        made = {name: one.make() for name, one in CORPUS.items()}
        self._begun = threading.Event()
        self._answers: dict[str, Future[str]] = {
            name: self._pool.submit(self._upload, content) for name, content in made.items()
        }
        self._begun.set()

    def _upload(self, content: bytes) -> str:
        # Making them takes processor time, which is not to be measured.
        self._begun.wait()
        files = {"file": ("model.keras", content)}
        answer = requests.post(self._url, headers=self._headers, data={"name": NAME}, files=files, timeout=60)
        if answer.status_code != 201:
            raise RuntimeError(f"an upload was answered {answer.status_code}: {answer.text[:200]}")
        return str(answer.json()["_id"])

    def over(self) -> bool:
        uploaded = all(answer.done() for answer in self._answers.values())
        return uploaded and not self._models.count_documents({"name": NAME, "state": "loading"})

    def ends(self) -> list[Measured]:
        """Of each file: `file`, `state`, `reason`, `expected` (whether it is the right one), `seconds` of the build."""
        documents = {str(one["_id"]): one for one in self._models.find({"name": NAME})}
        self._pool.shutdown()
        self._client.close()
        return [self._end(name, documents[answer.result()]) for name, answer in self._answers.items()]

    def _end(self, name: str, document: dict[str, Any]) -> Measured:
        reason = str(document.get("error", ""))
        return {
            "file": name,
            "state": document["state"],
            "reason": reason,
            "expected": document["state"] == "failed" and bool(re.search(CORPUS[name].reason, reason)),
            "seconds": (document["_updated"] - document["build"]["started"]).total_seconds(),
        }


def measure(
    seconds: float, connections: int, runs: int, directory: Path
) -> tuple[list[Measured], list[Measured], dict[str, Any]]:
    """The figures of predict, what came of each file, and the machine."""
    progress("making the model, registering and building it ...")
    save_model(directory / "mlp.keras")
    data = directory / "data"
    register(directory / "mlp.keras", data)
    threads = threads_for((connections,))
    limits = {"ALMANAC_BUILD_SECONDS": "30", "ALMANAC_BUILD_MEMORY_MB": "2000"}
    found: list[Measured] = []
    with almanac(data, threads, "--no-jobs", **limits) as server:
        asked = server.row(STORED)
        asked.load(WARM_CONNECTIONS, min(WARM_SECONDS, seconds))
        about = describe(data, threads)

        def figures(name: str, one: Asked = asked) -> None:
            figured = one.load(connections, seconds)
            progress(f"{name}: {figured.rate:.0f} req/s, p99 {figured.p99:.1f} ms")
            found.append({"name": name, "run": len(select(found, name=name)), **asdict(figured)})

        for _ in range(runs):
            figures(BEFORE)
        thrown = Thrown(server, data)
        while not thrown.over():
            figures(THROWN)
        ends = thrown.ends()
        for _ in range(runs):
            figures(AFTER)
    return found, ends, about


def text(found: list[Measured], ends: list[Measured], connections: int, about: dict[str, Any]) -> str:
    """Both tables."""
    lines = [line(f"predict, stored, {connections} connections", "req/s", "p50 ms", "p99 ms", "p99 least", "most")]
    for name in (BEFORE, THROWN, AFTER):
        times = [one["p99"] for one in select(found, name=name)]
        rate, p50, p99 = (median(found, key, name=name) for key in ("rate", "p50", "p99"))
        lines.append(
            line(name, f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}", f"{min(times):.2f}", f"{max(times):.2f}"),
        )
    table = ["file | seconds | reason", "---|---:|---"]
    for end in ends:
        mark = "" if end["expected"] else " (NOT AS EXPECTED)"
        table.append(f"{end['file']} | {end['seconds']:.1f} | {end['state']}: {end['reason'][:160]}{mark}")
    seconds = [end["seconds"] for end in ends]
    wrong = sum(not end["expected"] for end in ends)
    table.append(f"{len(ends)} files, {wrong} not as expected; seconds: median {statistics.median(seconds):.1f}")
    return "\n".join([*lines, "", *table, "", in_a_line(about)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make bench PART=hostile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="each figure; %(default)s")
    parser.add_argument("--connections", type=int, default=8, help="at once; %(default)s")
    parser.add_argument("--runs", type=int, default=5, help="before and after; %(default)s")
    parser.add_argument("--json", type=Path, help="a file for everything that was measured")
    given = parser.parse_args(arguments)
    found, ends, about = carried_out(measure, given.seconds, given.connections, given.runs)
    print(text(found, ends, given.connections, about))
    keep(given.json, about, measured=found, files=ends)
    if not all(end["expected"] for end in ends):
        sys.exit("make bench: a file did not end as it should")


if __name__ == "__main__":
    main()
