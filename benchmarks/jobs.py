"""`make bench PART=jobs`: a job beside the executor alone and a loop over find(), and what it does to all else."""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from bson import Binary, ObjectId
from pymongo import MongoClient, WriteConcern
from pymongo.database import Database

from benchmarks.loop import rows_a_second as loop
from benchmarks.machine import describe, in_a_line
from benchmarks.npy import executor_alone
from benchmarks.part import carried_out, keep
from benchmarks.processes import deepest, pss
from benchmarks.report import Measured, line, median, progress, ratio
from benchmarks.rest import Rest
from benchmarks.servers import STORED, THREADS, almanac, register, save_model

ROWS, SMALL_ROWS = 100_000, 1_000_000
#: Values of a row of the first kind, which is packed, and of a small one.
VALUES, SMALL_VALUES = 784, 8
BATCH = 64
JOB, ALONE, LOOP = "a job, read and stored", f"executor alone, batch {BATCH}", "for doc in find(): predict(doc)"
QUIET, BUSY = "no job runs", "a job runs"
CONNECTIONS = 8
ARRIVALS = 1000


@dataclass(frozen=True)
class Setting:
    """What is measured on: a server with its worker, its database and its data directory."""

    rest: Rest
    db: Database[dict[str, Any]]
    data: Path
    rows: int
    small_rows: int
    seconds: float


def measure(runs: int, rows: int, small_rows: int, seconds: float, directory: Path) -> tuple[list[Measured], Any]:
    """All of it, `runs` times over one server."""
    data = directory / "data"
    for kind in ("mlp", "small"):
        save_model(directory / f"{kind}.keras", kind)
        register(directory / f"{kind}.keras", data, kind)
    found: list[Measured] = []
    with almanac(data, THREADS) as server:
        about = describe(data, THREADS)
        with MongoClient[dict[str, Any]]((data / "mongo.uri").read_text().strip()) as client:
            db = client.get_default_database().with_options(write_concern=WriteConcern(w=1))
            on = Setting(Rest(server), db, data, rows, small_rows, seconds)
            server.row(STORED).load(CONNECTIONS, 1.0)
            for number in range(runs):
                for part in (_throughput, _beside, _follow, _million):
                    for one in part(on):
                        progress(f"run {number + 1}: {one}")
                        found.append({"run": number, **one})
    return found, about


def _throughput(on: Setting) -> list[Measured]:
    """Rows a second of a job, of the executor alone and of the loop that people write."""
    _insert(on.db, on.rows, VALUES, "wide")
    job = on.rest.submit(model="mlp", where={"tags": "wide"})
    ended = on.rest.wait(job)
    took = _seconds(ended["ended"]) - _seconds(ended["_created"])
    found = [{"name": JOB, "rows": on.rows / took}]
    found.append({"name": ALONE, "rows": executor_alone(on.data, on.seconds, BATCH)})
    uri = (on.data / "mongo.uri").read_text().strip()
    found.append({"name": LOOP, "rows": loop(on.data.parent / "mlp.keras", uri, on.seconds)})
    return found


def _beside(on: Setting) -> list[Measured]:
    """Predictions at eight connections without a job, and with one that does not end meanwhile."""
    asked = on.rest.server.row(STORED)
    quiet = asked.load(CONNECTIONS, on.seconds)
    job = on.rest.submit(model="mlp", where={"tags": "wide"})
    on.rest.until(job, lambda found: found["progress"]["done"] > 0)
    before = on.rest.job(job)
    busy = asked.load(CONNECTIONS, on.seconds)
    after = on.rest.job(job)
    moved = after["progress"]["done"] - before["progress"]["done"]
    if after["status"] == "running":
        on.rest.change(job, "canceled")
    return [
        {"name": QUIET, **asdict(quiet)},
        {"name": BUSY, **asdict(busy), "rows": moved / on.seconds, "ended": after["status"] != "running"},
    ]


def _follow(on: Setting) -> list[Measured]:
    """From an input's insert by another program to its result, in milliseconds."""
    tag = f"arrives {ObjectId()}"
    job = on.rest.submit(model="small", where={"tags": tag}, follow=True)
    on.rest.until(job, lambda found: found["status"] == "running")
    _arrive(on.db, 1, tag, ObjectId(job))  # it follows when that has a result
    times = _arrive(on.db, ARRIVALS, tag, ObjectId(job))
    on.rest.change(job, "canceled")
    return [{"name": "follow", "p50": statistics.median(times), "p99": sorted(times)[int(len(times) * 0.99)]}]


def _arrive(db: Database[dict[str, Any]], count: int, tag: str, job: ObjectId) -> list[float]:
    """Insert one after the other, and see each result come in a change stream; milliseconds."""
    sent: dict[ObjectId, float] = {}
    times: list[float] = []
    ended = threading.Event()
    pipeline = [{"$match": {"operationType": "insert", "fullDocument.job": job}}]
    with db["results"].watch(pipeline, max_await_time_ms=1000) as stream:

        def look() -> None:
            while len(times) < count and not ended.is_set():
                event = stream.try_next()
                if event is not None:
                    times.append((time.perf_counter() - sent[event["fullDocument"]["input"]]) * 1000)

        thread = threading.Thread(target=look)
        thread.start()
        row = [0.5] * SMALL_VALUES
        for _ in range(count):
            id_ = ObjectId()
            sent[id_] = time.perf_counter()
            db["inputs"].insert_one({"_id": id_, "data": row, "tags": [tag]})
        thread.join(60)
        ended.set()
        thread.join()
    if len(times) != count:
        raise RuntimeError(f"{len(times)} of {count} arrivals have a result after a minute")
    return times


def _million(on: Setting) -> list[Measured]:
    """A long job over small rows: the worker's memory, and how soon a pause, a resume and a cancel show."""
    _insert(on.db, on.small_rows, SMALL_VALUES, "small")
    worker = deepest(on.rest.server.pid, "worker")
    # What the worker needs for any job at all is there after one.
    on.rest.wait(on.rest.submit(model="small", where={"tags": "small", "meta.n": {"$lt": 20_000}}))
    before = pss(worker)
    steered: list[float] = []
    job = on.rest.submit(model="small", where={"tags": "small"})
    peak = before
    began = time.perf_counter()
    for share in (0.2, 0.4, 0.6):
        on.rest.until(job, lambda found, share=share: found["progress"]["done"] > share * on.small_rows)
        peak = max(peak, pss(worker))
        for status, shows in (("paused", "paused"), ("queued", "running")):
            at = time.perf_counter()
            on.rest.change(job, status)
            on.rest.until(job, lambda found, shows=shows: found["status"] == shows)
            steered.append(time.perf_counter() - at)
    ended = on.rest.wait(job)
    took = time.perf_counter() - began
    peak = max(peak, pss(worker))
    other = on.rest.submit(model="small", where={"tags": "small"})
    on.rest.until(other, lambda found: found["progress"]["done"] > 1000)
    at = time.perf_counter()
    on.rest.change(other, "canceled")
    steered.append(time.perf_counter() - at)
    if ended["progress"]["done"] != on.small_rows:
        raise RuntimeError(f"the job ended with {ended['progress']}")
    return [{"name": "million", "rows": on.small_rows / took, "before": before, "peak": peak, "steered": max(steered)}]


def _insert(db: Database[dict[str, Any]], count: int, values: int, tag: str) -> None:
    """Rows as another program stores them; those of an earlier run stay."""
    if db["inputs"].count_documents({"tags": tag}) >= count:
        return
    rng = np.random.default_rng(1)
    for at in range(0, count, 1000):
        rows = rng.random((1000, values), "f4")
        db["inputs"].insert_many([_input(row, at + number, tag) for number, row in enumerate(rows)], ordered=False)


def _input(row: Any, number: int, tag: str) -> dict[str, Any]:
    if len(row) <= 64:
        return {"_id": ObjectId(), "data": row.tolist(), "tags": [tag], "meta": {"n": number}}
    data = {"dtype": "FP32", "shape": [len(row)], "data": Binary(row.tobytes())}
    return {"_id": ObjectId(), "data": data, "tags": [tag]}


def _seconds(time_: str) -> float:
    return datetime.fromisoformat(time_).timestamp()


def text(found: list[Measured], about: dict[str, Any]) -> str:
    """The table."""
    lines = [line("rows a second")]
    lines += [line(name, f"{median(found, 'rows', name=name):,.1f}") for name in (JOB, ALONE, LOOP)]
    lines += [f"{JOB} / {name:38} {ratio(found, 'rows', {'name': JOB}, {'name': name})}" for name in (ALONE, LOOP)]
    lines += ["", line(f"predict, {CONNECTIONS} connections", "req/s", "p50 ms", "p99 ms", "job rows/s")]
    for name in (QUIET, BUSY):
        figures = [f"{median(found, key, name=name):,.1f}" for key in ("rate", "p50", "p99")]
        rows = f"{median(found, 'rows', name=name):,.0f}" if name == BUSY else ""
        lines.append(line(name, *figures, rows))
    lines.append(f"p99 with a job / without                 {ratio(found, 'p99', {'name': BUSY}, {'name': QUIET})}")
    lines += ["", line("insert to result, ms", "p50", "p99")]
    lines.append(line("follow", *(f"{median(found, key, name='follow'):,.1f}" for key in ("p50", "p99"))))
    before, peak, steered, rows = (median(found, key, name="million") for key in ("before", "peak", "steered", "rows"))
    lines += [
        "",
        f"a million small rows: {rows:,.0f} rows/s; the worker has {before / 2**20:.0f} MB PSS before and "
        f"{peak / 2**20:.0f} at most; a pause, resume or cancel shows after {steered:.2f} s at most",
    ]
    return "\n".join([*lines, "", in_a_line(about)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make bench PART=jobs", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="the table has their medians; %(default)s")
    parser.add_argument("--rows", type=int, default=ROWS, help="wide rows; %(default)s")
    parser.add_argument("--small-rows", type=int, default=SMALL_ROWS, help="small rows; %(default)s")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load; %(default)s")
    parser.add_argument("--json", type=Path, help="a file for everything that was measured")
    given = parser.parse_args(arguments)
    found, about = carried_out(measure, given.runs, given.rows, given.small_rows, given.seconds)
    print(text(found, about))
    keep(given.json, about, measured=found)


if __name__ == "__main__":
    main()
