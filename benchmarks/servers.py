"""The servers that are compared, each as one would start it, and what is asked of them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import Figures, run
from benchmarks.processes import ROOT, environment, free_port, started

ROW = [round(0.001 * number, 3) for number in range(784)]
JSON = {"Content-Type": "application/json"}

PREDICT = "Flask + model.predict"
FUNCTION = "Flask + tf.function"
STORED = "Almanac, every row stored"
UNSTORED = "Almanac, store none"
#: In the order of the table.
NAMES = (PREDICT, FUNCTION, STORED, UNSTORED)
BASELINES = (PREDICT, FUNCTION)

#: Almanac's default, and the threads of it that no prediction gets: docs/settings.md.
THREADS, FOR_OTHERS = 64, 8


@dataclass(frozen=True)
class Asked:
    """A request to one of the servers."""

    port: int
    path: str
    body: bytes
    headers: dict[str, str] = field(repr=False)

    def load(self, connections: int, seconds: float, *, refusals: bool = False, rate: float | None = None) -> Figures:
        return run(self.port, self.path, self.body, self.headers, connections, seconds, refusals=refusals, rate=rate)


@dataclass(frozen=True)
class Server:
    """One that runs: its port, its first process, and the headers that it wants."""

    port: int
    pid: int
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    def row(self, name: str) -> Asked:
        """What the table's row of that name asks."""
        if name in BASELINES:
            return Asked(self.port, "/predict", json.dumps({"instances": [ROW]}).encode(), JSON)
        body = {"instances": [ROW]} if name == STORED else {"instances": [ROW], "store": "none"}
        headers = {**JSON, **self.headers}
        return Asked(self.port, "/api/v1/models/mlp/predict", json.dumps(body).encode(), headers)


def threads_for(connections: Sequence[int]) -> int:
    """ALMANAC_THREADS with which no connection is refused: the default where that is enough."""
    return max(THREADS, max(connections) + FOR_OTHERS)


def save_model(file: Path, kind: str = "mlp") -> None:
    """Write a model of model.py, in a process of its own: TensorFlow is not to be in this one."""
    _call([sys.executable, "-m", "benchmarks.model", str(file), kind])


def register(file: Path, data: Path, name: str = "mlp") -> None:
    """Register and build the model in Almanac's data directory."""
    _call([sys.executable, "run.py", "model", "add", str(file), "--name", name], ALMANAC_DATA_DIR=str(data))


def _call(command: list[str], **more: str) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env=environment(**more), check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        tail = done.stdout.decode(errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{tail}")


@contextlib.contextmanager
def flask(name: str, file: Path) -> Iterator[Server]:
    """One of the baselines, under gunicorn with one worker process and eight threads."""
    port = free_port()
    gunicorn = [sys.executable, "-m", "gunicorn", "--log-level", "warning", "-w1", "-k", "gthread", "--threads", "8"]
    command = [*gunicorn, "-b", f"127.0.0.1:{port}", "benchmarks.flask_predict:app"]
    more = {"BENCH_MODEL": str(file), "BENCH_FUNCTION": "1" if name == FUNCTION else "0"}
    with started(command, port, "/", **more) as process:
        yield Server(port, process.pid)


@contextlib.contextmanager
def almanac(
    data: Path, threads: int, *arguments: str, headers: dict[str, str] | None = None, **more: str
) -> Iterator[Server]:
    """`run.py serve` as it is, but for the threads, until it is ready."""
    port = free_port()
    command = [sys.executable, "run.py", "serve", "--port", str(port), *arguments]
    more = {"ALMANAC_DATA_DIR": str(data), "ALMANAC_THREADS": str(threads), **more}
    with started(command, port, "/health/ready", **more) as process:
        if headers is None:
            headers = {"Authorization": "Bearer " + (data / "admin.key").read_text().strip()}
        yield Server(port, process.pid, headers)
