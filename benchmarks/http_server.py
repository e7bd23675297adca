"""Why granian: one trivial WSGI application under granian as cli/http.py starts it, and under gunicorn's gthread."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

from benchmarks.load import run
from benchmarks.processes import cpu_seconds, free_port, started
from benchmarks.report import Options, progress
from benchmarks.servers import JSON, ROW

CONNECTIONS = (1, 32)
THREADS = 64
ANSWER = b'{"answer": 1}'


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Reads the body and answers 13 bytes."""
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(ANSWER)))])
    return [ANSWER]


def serve_with_granian(port: int) -> None:
    """As cli/http.py does."""
    from granian import Granian
    from granian.constants import Interfaces

    from cli.http import CONNECTIONS as MOST

    Granian(
        "benchmarks.http_server:app",
        address="127.0.0.1",
        port=port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=THREADS,
        backpressure=MOST,
        backlog=1024,
        websockets=False,
        log_access=False,
        log_enabled=False,
    ).serve()


def commands(port: int) -> dict[str, list[str]]:
    """How each server is started."""
    gunicorn = [sys.executable, "-m", "gunicorn", "--log-level", "warning", "-w1", "-k", "gthread"]
    return {
        "granian": [sys.executable, "-m", "benchmarks.http_server", "--granian", str(port)],
        "gunicorn gthread": [
            *gunicorn,
            *("--threads", str(THREADS), "-b", f"127.0.0.1:{port}", "benchmarks.http_server:app"),
        ],
    }


@contextlib.contextmanager
def servers() -> Iterator[dict[str, tuple[int, int]]]:
    """Both, as (port, process), from when they answer until the block ends."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name in commands(0):
            port = free_port()
            process = stack.enter_context(started(commands(port)[name], port, "/"))
            found[name] = port, process.pid
        yield found


def measure(options: Options) -> list[dict[str, Any]]:
    """Both at every number of connections, once each in every run."""
    body = json.dumps({"instances": [ROW]}).encode()
    found = []
    with servers() as running:
        for port, _ in running.values():
            run(port, "/", body, JSON, 4, min(1.0, options.seconds))
        for number in range(options.runs):
            for connections in CONNECTIONS:
                for name, (port, pid) in running.items():
                    before = cpu_seconds(pid)
                    figures = run(port, "/", body, JSON, connections, options.seconds)
                    server_us = (cpu_seconds(pid) - before) / figures.requests * 1e6
                    progress(f"run {number + 1}: {name}, {connections} connections: {figures.rate:.0f} req/s")
                    one = {"run": number, "name": name, "connections": connections, "server_us": server_us}
                    found.append({**one, **asdict(figures)})
    return found


def main() -> None:
    """Both servers alone, as a table."""
    from benchmarks.serving import options_from
    from benchmarks.table import http_lines

    options, _ = options_from()
    print("\n".join(http_lines(measure(options))))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--granian"]:
        serve_with_granian(int(sys.argv[2]))
    else:
        main()
