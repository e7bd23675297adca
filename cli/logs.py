"""The log on standard error: a JSON object a line, or lines for people."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO

import orjson

from api.access_log import Answered, write_with
from ml.identity.redaction import redacted
from settings import Settings

Style = Literal["json", "console"]

#: The logger with a line for each request, and the longest method that there is.
ACCESS = "almanac.access"
LONGEST_METHOD = len("OPTIONS")
#: What a log record may carry beside its message.
EXTRA = ("request", "method", "path", "status", "ms")


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the request's fields, an exception."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: value for name in EXTRA if (value := getattr(record, name, None)) is not None})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redacted(_json(line))

    def answered(self, one: Answered) -> str:
        """The line of the access log."""
        line = {
            "time": _moment(one.at),
            "level": logging.getLevelName(one.level).lower(),
            "logger": ACCESS,
            "message": f"{one.method} {one.path} {one.status}",
            "request": one.request,
            "method": one.method,
            "path": one.path,
            "status": one.status,
        }
        if one.ms is not None:
            line["ms"] = one.ms
        return _without_secrets(one, _json(line))


class Console(logging.Formatter):
    """Time, level and message; the milliseconds and id of a request after it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        request = getattr(record, "request", None)
        return redacted(f"{text} {getattr(record, 'ms', 0)} ms {request}" if request else text)

    def answered(self, one: Answered) -> str:
        """The line of the access log."""
        when = time.strftime("%H:%M:%S", time.localtime(one.at))
        path = one.path if one.path.isprintable() else ascii(one.path)[1:-1]
        message = f"{one.method} {path} {one.status} {one.ms} ms {one.request}"
        return _without_secrets(one, f"{when} {logging.getLevelName(one.level):<7} {message}")


def _json(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # half of a surrogate pair
        return json.dumps(line, default=str)


def _moment(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}+00:00"


@lru_cache(2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _without_secrets(one: Answered, line: str) -> str:
    # There is one for each prediction; its request's id was looked at before.
    if len(one.method) <= LONGEST_METHOD and redacted(one.path) == one.path:
        return line
    return redacted(line)


class Lines(logging.StreamHandler[TextIO]):
    """Writes records, and lines that are made already."""

    def __init__(self, stream: TextIO, style: JsonLines | Console) -> None:
        super().__init__(stream)
        self.style = style
        self.setFormatter(style)

    def write(self, lines: str) -> None:
        """Write lines with their ends; where nothing takes them they are lost, as a record is."""
        with self.lock or nullcontext(), suppress(OSError, ValueError):
            self.stream.write(lines)


#: What the log of this process is written by.
_handler: Lines | None = None


def set_up(settings: Settings) -> None:
    """Send this process's log to standard error as the settings say; once more, as they say then."""
    global _handler
    style = settings.log_format or ("console" if sys.stderr.isatty() else "json")
    # A descriptor of its own: libraries that write to descriptor 2 by themselves can be silenced without it.
    stream = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", buffering=1)
    before, _handler = _handler, Lines(stream, JsonLines() if style == "json" else Console())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[_handler], force=True)
    if before is not None:
        before.stream.close()
    for name in ("pymongo", "absl", "tensorflow", "werkzeug", "h5py"):
        logging.getLogger(name).setLevel(logging.WARNING)


def write_answers() -> Callable[[], None]:
    """Let the access log be written by a thread from now on; what this returns writes the last of its lines."""
    assert _handler is not None
    return write_with(_handler.style.answered, _handler.write)
