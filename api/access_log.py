"""The access log: a line for each answer, made by the thread that answered and written by one for all.

Writing lets go of the interpreter, and under load whoever does so waits for a turn of it again, holding the log's lock
meanwhile. So where `write_with` was called, lines are kept for a moment and written together.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from api.probes import HEALTH

log = logging.getLogger("almanac.access")

#: Seconds between two writings.
PERIOD = 0.05
#: Lines that are kept where nothing takes them; what comes then is lost, and counted.
MOST_LINES = 50_000
#: Bytes that a pipe takes at once, so that no other process's line comes between (pipe(7)).
AT_ONCE = 4096


class Answered(NamedTuple):
    """What a line says."""

    #: Seconds since 1970.
    at: float
    level: int
    request: str
    method: str
    path: str
    status: int
    #: Milliseconds from the request's arrival; None where that is not known.
    ms: float | None


#: Makes a line, without its end.
Format = Callable[[Answered], str]
#: Writes text that ends with a line.
Write = Callable[[str], object]


def log_answer(environ: Mapping[str, Any], id_: str, status: int, began: float | None) -> None:
    """The line for an answer; `began` is monotonic."""
    path = environ["PATH_INFO"]
    # Probes come every few seconds and say nothing.
    level = logging.DEBUG if path.startswith(HEALTH) else logging.INFO
    if not log.isEnabledFor(level):
        return
    ms = round((time.monotonic() - began) * 1000, 2) if began else None
    answered = Answered(time.time(), level, id_, environ["REQUEST_METHOD"], path, status, ms)
    if _written is not None:
        _written.add(answered)
        return
    more = {"request": id_, "method": answered.method, "path": path, "status": status, "ms": ms}
    log.log(level, "%s %s %d", answered.method, path, status, extra=more)


class Written:
    """Lines on their way to the log."""

    def __init__(self, form: Format, write: Write) -> None:
        self._form = form
        self._write = write
        self._lines: deque[str] = deque()
        self._lost = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def add(self, answered: Answered) -> None:
        """Keep the line until it is written, which is in a moment."""
        if len(self._lines) < MOST_LINES:
            self._lines.append(self._form(answered))
        else:
            self._lost += 1

    def close(self) -> None:
        """Write what is left."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(PERIOD):
            self._write_all()
        self._write_all()

    def _write_all(self) -> None:
        together: list[str] = []
        length = 0
        for _ in range(len(self._lines)):
            line = self._lines.popleft()
            if together and length + len(line) >= AT_ONCE:
                self._write("\n".join(together) + "\n")
                together, length = [], 0
            together.append(line)
            length += len(line) + 1
        if together:
            self._write("\n".join(together) + "\n")
        if self._lost:
            lost, self._lost = self._lost, 0
            log.warning("%d lines of the access log were lost: more came than could be written", lost)


_written: Written | None = None


def write_with(form: Format, write: Write) -> Callable[[], None]:
    """From now on, lines are made by `form` and written by a thread; what this returns writes the last of them."""
    global _written
    written = _written = Written(form, write)

    def close() -> None:
        global _written
        _written = None
        written.close()

    return close
