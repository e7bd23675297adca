"""Starts the processes that serving is made of, starts again what died, and ends them in order."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ml.database.embedded import EmbeddedMongo
from ml.stop import Stop

log = logging.getLogger(__name__)

RUN = Path(__file__).resolve().parent.parent / "run.py"

#: A process that was to live and died is started again after this pause, twice as long each time, in seconds.
PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: One that lived this long has recovered.
RECOVERED = 60.0
STOP_SECONDS = 60.0


@dataclass
class Child:
    """One process of ours, by the arguments of run.py that it runs."""

    name: str
    arguments: list[str]
    environment: Mapping[str, str]
    #: Whether it is started again when it dies; where not, its end is the end of all.
    restarts: bool
    process: subprocess.Popen[bytes] | None = None
    pause: float = PAUSE
    began: float = 0.0
    due: float = field(default=0.0)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(RUN), *self.arguments, "--parent", str(os.getpid())],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            # Ctrl-C reaches the supervisor alone, which ends the others in order. Not a session: see ml/terminal.py.
            process_group=0,
        )
        self.began = time.monotonic()

    def stop(self, timeout: float) -> None:
        """SIGTERM, and SIGKILL where that is not heeded in time."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            log.warning("%s did not end within %.0f s and is killed", self.name, timeout)
            self.process.kill()
            self.process.wait()


class Supervisor:
    """Watches mongod (where it is ours), HTTP and the worker.

    Used from one thread; `stop` may be set from any, and by the handler of a signal.
    """

    def __init__(self, children: list[Child], embedded: EmbeddedMongo | None) -> None:
        self._children = children
        self._embedded = embedded
        self.stop = Stop()

    def start(self) -> None:
        for child in self._children:
            child.start()

    def watch(self, also: Callable[[], bool] | None = None) -> int:
        """Until stopped, or until what cannot be started again has died: 0 or 1. `also` is called at each look, and
        ends the watch with 0 where it says True.
        """
        while not self.stop.wait(0.1):
            self._revive_mongod()
            for child in self._children:
                if not self._revive(child):
                    return 1
            if also is not None and also():
                return 0
        return 0

    def end(self) -> None:
        """End HTTP, then the worker, each in its own time; mongod is the caller's to stop after that."""
        for child in self._children:
            child.stop(STOP_SECONDS)

    def _revive(self, child: Child) -> bool:
        assert child.process is not None
        code = child.process.poll()
        if code is None:
            if time.monotonic() - child.began > RECOVERED:
                child.pause = PAUSE
            return True
        if not child.restarts:
            log.error("%s ended with code %d", child.name, code)
            return False
        if not child.due:
            log.warning("%s ended with code %d; it is started again in %.1f s", child.name, code, child.pause)
            child.due = time.monotonic() + child.pause
            child.pause = min(child.pause * 2, LONGEST_PAUSE)
        elif time.monotonic() >= child.due:
            child.due = 0.0
            child.start()
        return True

    def _revive_mongod(self) -> None:
        if self._embedded is None:
            return
        code = self._embedded.poll()
        if code is not None:
            log.error("mongod ended with code %d; it is started again", code)
            self._embedded.restart()
