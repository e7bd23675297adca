"""`make bench PART=models`: what builds choose, beside Keras; a picture over HTTP; a replica that starts again."""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from pymongo import MongoClient

from benchmarks import cold
from benchmarks.machine import describe, in_a_line
from benchmarks.model import KINDS
from benchmarks.npy import NPY
from benchmarks.part import carried_out, keep
from benchmarks.processes import ROOT, environment, family, pss
from benchmarks.report import Measured, line, median, progress, ratio
from benchmarks.servers import THREADS, UNSTORED, Asked, Server, almanac, register, save_model

PICTURES = "mobilenetv2"
SERVED, IN_PROCESS = f"{PICTURES} as .npy over HTTP, store none", f"{PICTURES}, model.predict in process"
KEY = "a-key-for-the-benchmarks"
CALLS = 50


def measure(runs: int, directory: Path) -> tuple[dict[str, list[Measured]], dict[str, Any]]:
    """Every model is built in every run; the last version of each is served."""
    data = directory / "data"
    found: dict[str, list[Measured]] = {"build": [], "picture": [], "replica": []}
    for kind in KINDS:
        save_model(directory / f"{kind}.keras", kind)
    for run in range(runs):
        for kind in KINDS:
            register(directory / f"{kind}.keras", data, kind)
            progress(f"run {run + 1}: {kind} is built")
    with almanac(data, THREADS, "--no-jobs") as ours:
        uri = (data / "mongo.uri").read_text().strip()
        about = describe(data, THREADS)
        found["build"] = _tables(uri)
        for run in range(runs):
            found["picture"] += _picture(run, ours, directory / f"{PICTURES}.keras")
            progress(f"run {run + 1}: pictures")
    # A replica keeps every model that there is; this is about one.
    data = directory / "one"
    register(directory / "mlp.keras", data)
    with almanac(data, THREADS, "--no-jobs"):
        uri = (data / "mongo.uri").read_text().strip()
        for run in range(runs):
            found["replica"].append(_replica(run, uri, directory / "replica"))
            progress(f"run {run + 1}: a replica")
    return found, about


def _tables(uri: str) -> list[Measured]:
    """Of every build: the times at batch 1 of `model.predict` and of what was chosen."""
    found = []
    with MongoClient[dict[str, Any]](uri) as client:
        for document in client.get_default_database()["models"].find().sort("version", 1):
            table, way = document["build"]["table"], document["build"]["ways"][0]
            chosen = next(
                row for row in table if (row["executor"], row["threads"]) == (way["executor"], way["threads"])
            )
            run = document["version"] - 1
            for what, row in (("keras", table[0]), ("chosen", chosen)):
                found.append({"run": run, "name": document["name"], "what": what, "ms": row["ms"]["1"], "way": way})
    return found


def _picture(run: int, server: Server, file: Path) -> list[Measured]:
    body = io.BytesIO()
    np.save(body, np.random.default_rng(run).random((1, 224, 224, 3), "f4"))
    headers = {"Content-Type": NPY, "Accept": NPY, **server.headers}
    asked = Asked(server.port, f"/api/v1/models/{PICTURES}/predict?store=none", body.getvalue(), headers)
    asked.load(1, 1.0)
    served = {"run": run, "name": SERVED, "ms": asked.load(1, 3.0).p50}
    command = [sys.executable, "-m", "benchmarks.models", "--keras", str(file)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    return [served, {"run": run, "name": IN_PROCESS, "ms": float(done.stdout)}]


def keras_ms(file: Path) -> float:
    """The median of `model.predict` for one picture, in this process."""
    import keras

    model = keras.saving.load_model(file)
    picture = np.random.default_rng(1).random((1, 224, 224, 3), "f4")
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        model.predict(picture, verbose=0)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def _replica(run: int, uri: str, data: Path) -> Measured:
    """A replica without jobs, whose database is up: from its exec to the first prediction, and its memory then."""
    settings = {"ALMANAC_MONGO_URI": uri, "ALMANAC_ADMIN_KEY": KEY}
    for _ in range(2):  # the first time it fetches the artefact
        began = time.perf_counter()
        with almanac(data, THREADS, "--no-jobs", headers={"Authorization": f"Bearer {KEY}"}, **settings) as server:
            cold.predict(server.row(UNSTORED))
            seconds = time.perf_counter() - began
            server.row(UNSTORED).load(1, 1.0)
            memory = sum(pss(process.pid) for process in family(server.pid))
    return {"run": run, "seconds": seconds, "memory": memory}


def text(found: dict[str, list[Measured]], about: dict[str, Any]) -> str:
    """The table."""
    lines = [line("batch 1, ms", "predict", "chosen", "ratio", "executor")]
    for kind in KINDS:
        of, to = {"name": kind, "what": "keras"}, {"name": kind, "what": "chosen"}
        way = next(one["way"] for one in reversed(found["build"]) if one["name"] == kind)
        times = [f"{median(found['build'], 'ms', **which):.3f}" for which in (of, to)]
        how = f"{way['executor']} x{way['threads']}"
        lines.append(line(kind, *times, f"{ratio(found['build'], 'ms', of, to).median:.1f}", how))
    lines += ["", line("one picture of 224 x 224, ms", "p50")]
    lines += [f"{name:44}{median(found['picture'], 'ms', name=name):>8.2f}" for name in (IN_PROCESS, SERVED)]
    lines.append(f"ratio {ratio(found['picture'], 'ms', {'name': IN_PROCESS}, {'name': SERVED})}")
    seconds, memory = (median(found["replica"], key) for key in ("seconds", "memory"))
    lines += [
        "",
        f"a replica, exec to first prediction: {seconds:.2f} s; all its processes: {memory / 2**20:.0f} MB PSS",
    ]
    return "\n".join([*lines, "", in_a_line(about)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make bench PART=models", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="the table has their medians; %(default)s")
    parser.add_argument("--json", type=Path, help="a file for everything that was measured")
    parser.add_argument("--keras", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.keras is not None:
        print(keras_ms(given.keras))
        return
    found, about = carried_out(measure, given.runs)
    print(text(found, about))
    keep(given.json, about, **found)


if __name__ == "__main__":
    main()
