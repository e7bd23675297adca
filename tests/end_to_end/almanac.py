"""A real Almanac as a process, for tests: started, asked over HTTP, stopped or killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import requests
from pymongo import MongoClient

from tests.recorded.over_http import recorded
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Almanac:
    """`run.py serve` on a data directory and a port."""

    def __init__(self, data: Path, port: int, *arguments: str, **environment: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.data = data
        self._log = data.parent / f"almanac-{time.monotonic_ns()}.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ALMANAC_")}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "run.py"), "serve", "--port", str(port), *arguments],
                env={**kept, "ALMANAC_DATA_DIR": str(data), **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str, seconds: float = 120) -> re.Match[str]:
        """Wait for a line of the output that matches."""

        def found() -> re.Match[str] | None:
            assert self.process.poll() is None, f"Almanac ended:\n{self.output}"
            return re.search(pattern, self.output, re.MULTILINE)

        try:
            match: re.Match[str] = until(found, seconds, pattern)
        except AssertionError:
            print(self.output)
            raise
        return match

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/health/ready", timeout=1).status_code == 200
        except requests.RequestException:
            return False

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.data / 'admin.key').read_text().strip()}"}

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        answer = requests.get(f"{self.url}/api/v1/{path}", headers=self.headers, timeout=30, **kwargs)
        return recorded(answer, self.url)

    def post(self, path: str, **kwargs: Any) -> requests.Response:
        answer = requests.post(f"{self.url}/api/v1/{path}", headers=self.headers, timeout=30, **kwargs)
        return recorded(answer, self.url)

    def database(self) -> MongoClient[dict[str, Any]]:
        """A client as another program would make it: from mongo.uri."""
        return MongoClient((self.data / "mongo.uri").read_text().strip(), tz_aware=True)

    def family(self) -> list[psutil.Process]:
        """Its process and all below it, mongod among them."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Send a signal to the process alone and wait for its end."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def kill_all(self) -> None:
        """SIGKILL to every process of it at once."""
        for process in self.family():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait(10)
