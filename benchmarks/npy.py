"""Thousand rows a request as .npy, nothing stored, beside the model alone in a process of its own."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.processes import ROOT, environment
from benchmarks.report import Options, progress
from benchmarks.servers import Asked, Server

ROWS = 1000
NPY = "application/x-npy"
SERVED = ".npy, store none"
ALONE = {64: "executor alone, batch 64", ROWS: f"executor alone, batch {ROWS}"}


def batch_of_rows() -> NDArray[np.float32]:
    return np.random.default_rng(1).random((ROWS, 784), "f4")


def measure(server: Server, data: Path, options: Options) -> list[dict[str, Any]]:
    """Rows a second of each, once each in every run."""
    body = io.BytesIO()
    np.save(body, batch_of_rows())
    headers = {"Content-Type": NPY, "Accept": NPY, **server.headers}
    asked = Asked(server.port, "/api/v1/models/mlp/predict?store=none", body.getvalue(), headers)
    asked.load(1, min(1.0, options.seconds))
    found: list[dict[str, Any]] = []
    for number in range(options.runs):
        figures = asked.load(1, options.seconds)
        found.append({"run": number, "name": SERVED, "rows": figures.rate * ROWS, **asdict(figures)})
        for batch, name in ALONE.items():
            found.append({"run": number, "name": name, "rows": executor_alone(data, options.seconds, batch)})
        for one in found[-1 - len(ALONE) :]:
            progress(f"run {number + 1}: {one['name']}: {one['rows']:.0f} rows/s")
    return found


def executor_alone(data: Path, seconds: float, batch: int) -> float:
    """Rows a second of the model that the data directory's server runs, called in a loop by a process of its own."""
    command = [sys.executable, "-m", "benchmarks.executor", str(data), str(seconds), str(batch)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the executor alone failed:\n{done.stderr[-2000:]}")
    return float(done.stdout)
