"""`run.py worker` that sends itself a signal at one point, which a line of its input names: POINT NUMBER SIGNAL.

It begins when that line comes, so that it can be started ahead; without one it ends. `committed 3 KILL`: SIGKILL the
third time that it comes to that point. The points of a chunk's transaction are `begin`, `advance` (the rows are
written, the job is not), `commit` (both are), `committed`; and there is `end`: all rows are done, the job is not told.
"""

from __future__ import annotations

import functools
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from pymongo.client_session import ClientSession

import ml.jobs.worker
import ml.service  # noqa: F401
from cli import main
from ml.jobs import states


class Hooks:
    """Counts how often a point was passed, and sends the signal at one of those times."""

    def __init__(self, point: str, number: int, name: str) -> None:
        self._point = point
        self._number = number
        self._signal = signal.Signals[f"SIG{name}"]
        self._passed: Counter[str] = Counter()

    def pass_by(self, point: str) -> None:
        self._passed[point] += 1
        if point == self._point and self._passed[point] == self._number:
            # To this thread: it goes no step further, while a signal to the process may take a moment to reach it.
            signal.pthread_kill(threading.get_ident(), self._signal)

    def wrap(self, function: Callable[..., Any], before: str = "", after: str = "") -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            # A job's progress is written without a session too, between phases.
            if before and not (before == "advance" and len(args) < 5 and kwargs.get("session") is None):
                self.pass_by(before)
            value = function(*args, **kwargs)
            if after:
                self.pass_by(after)
            return value

        return wrapped


if __name__ == "__main__":
    line = sys.stdin.readline().split()
    if not line:
        sys.exit()
    hooks = Hooks(line[0], int(line[1]), line[2])
    session: Any = ClientSession
    session.start_transaction = hooks.wrap(session.start_transaction, before="begin")
    session.commit_transaction = hooks.wrap(session.commit_transaction, before="commit", after="committed")
    states.advance = hooks.wrap(states.advance, before="advance")
    states.succeed = hooks.wrap(states.succeed, before="end")
    main(["worker"])
