"""One table: a prediction over HTTP by Almanac, stored and not, and by Flask with model.predict, in the same run.

The load is made by Python threads on the same cores: compare ratios within one table, never figures between machines.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.load import run

ROOT = Path(__file__).resolve().parent.parent
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "ALMANAC_LOG_LEVEL": "warning"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(command: list[str], url: str, **environment: str) -> Iterator[None]:
    """A server, from when `url` answers with anything until the block ends."""
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **QUIET, **environment}, stdout=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            if process.poll() is not None:
                raise RuntimeError(f"{command} ended with {process.returncode}")
            try:
                urllib.request.urlopen(url, timeout=5)
                break
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    break
            except OSError:
                pass
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(60)


def measure(name: str, port: int, path: str, body: dict, headers: dict[str, str], options: argparse.Namespace) -> dict:
    headers = {"Content-Type": "application/json", **headers}
    data = json.dumps(body).encode()
    run(port, path, data, headers, 4, 1.0)
    rates = {}
    for connections in options.connections:
        figures = run(port, path, data, headers, connections, options.seconds)
        rates[connections] = figures.rate
        print(
            f"{name:26} c={connections:<3} {figures.rate:9.1f} req/s  "
            f"p50 {figures.p50:8.2f} ms  p99 {figures.p99:8.2f} ms",
            flush=True,
        )
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    options = parser.parse_args()
    python = sys.executable
    row = [0.5] * 784
    with tempfile.TemporaryDirectory() as directory:
        file, data = Path(directory) / "mlp.keras", Path(directory) / "data"
        subprocess.run(
            [python, "-m", "benchmarks.model", str(file)],
            cwd=ROOT,
            env={**os.environ, **QUIET},
            check=True,
            capture_output=True,
        )
        port = free_port()
        gunicorn = [
            python,
            "-m",
            "gunicorn",
            "--log-level",
            "warning",
            "-w1",
            "-k",
            "gthread",
            "--threads",
            "8",
            "-b",
            f"127.0.0.1:{port}",
        ]
        with started([*gunicorn, "benchmarks.flask_predict:app"], f"http://127.0.0.1:{port}/", BENCH_MODEL=str(file)):
            naive = measure("Flask + model.predict", port, "/predict", {"instances": [row]}, {}, options)
        port = free_port()
        own = {"ALMANAC_DATA_DIR": str(data)}
        env = {**os.environ, **QUIET, **own}
        subprocess.run([python, "run.py", "model", "add", str(file), "--name", "mlp"], cwd=ROOT, env=env, check=True)
        command = [python, "run.py", "serve", "--no-jobs", "--port", str(port)]
        with started(command, f"http://127.0.0.1:{port}/health/ready", **own):
            key = {"Authorization": "Bearer " + (data / "admin.key").read_text().strip()}
            path = "/api/v1/models/mlp/predict"
            stored = measure("Almanac, every row stored", port, path, {"instances": [row]}, key, options)
            body = {"instances": [row], "store": "none"}
            unstored = measure("Almanac, store none", port, path, body, key, options)
    for connections in options.connections:
        print(
            f"c={connections:<3} of Flask + model.predict: stored {stored[connections] / naive[connections]:.1f}x, "
            f"unstored {unstored[connections] / naive[connections]:.1f}x"
        )


if __name__ == "__main__":
    main()
