"""Worker processes beside the one of Almanac's own: plain ones, and those that send themselves a signal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.end_to_end.almanac import ROOT

HOOKED = ("-m", "tests.faults.hooked_worker")


class Workers:
    """Starts them against the database of the Almanac that serves `data`."""

    def __init__(self, data: Path, log: Path, lease_seconds: float) -> None:
        self._data = data
        self._log = log
        self._lease_seconds = lease_seconds
        self._spare: subprocess.Popen[bytes] | None = None

    @contextmanager
    def start(self, *command: str) -> Iterator[psutil.Process]:
        """One that runs `command` (of Python), until the end."""
        process = self._launch(*command)
        try:
            yield psutil.Process(process.pid)
        finally:
            end(process)

    @contextmanager
    def hooked(self, point: str, number: int, name: str) -> Iterator[psutil.Process]:
        """One that sends itself the signal `name` when it is at `point` for that time; see hooked_worker.py."""
        # To start one takes about as long as a test does: the next one's is started now.
        process, self._spare = self._spare or self._launch(*HOOKED), self._launch(*HOOKED)
        assert process.stdin is not None
        try:
            process.stdin.write(f"{point} {number} {name}\n".encode())
            process.stdin.close()
            yield psutil.Process(process.pid)
        finally:
            end(process)

    def close(self) -> None:
        """End what waits for a test."""
        if self._spare is not None:
            end(self._spare)

    def _launch(self, *command: str) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ALMANAC_")}
        settings = {
            "ALMANAC_DATA_DIR": str(self._data),
            "ALMANAC_MONGO_URI": (self._data / "mongo.uri").read_text().strip(),
            "ALMANAC_ADMIN_KEY": (self._data / "admin.key").read_text().strip(),
            "ALMANAC_LEASE_SECONDS": str(self._lease_seconds),
            "ALMANAC_LOG_FORMAT": "console",
        }
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env={**kept, **settings},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def is_dead(process: psutil.Process) -> bool:
    """Whether it has ended, be it still its parent's zombie."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end(process: subprocess.Popen[bytes]) -> None:
    """End a worker, if it lives."""
    if process.stdin is not None:
        process.stdin.close()
    if process.poll() is None:
        psutil.Process(process.pid).resume()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
