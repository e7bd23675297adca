"""The log on standard error: a JSON object a line, or lines for people."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

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
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: value for name in EXTRA if (value := getattr(record, name, None)) is not None})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _without_secrets(record, orjson.dumps(line, default=str).decode())


class Console(logging.Formatter):
    """Time, level and message; the milliseconds and id of a request after it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        request = getattr(record, "request", None)
        return _without_secrets(record, f"{text} {getattr(record, 'ms', 0)} ms {request}" if request else text)


def _without_secrets(record: logging.LogRecord, line: str) -> str:
    if record.name == ACCESS:  # one for each prediction; its request's id was looked at before
        method, path = getattr(record, "method", line), getattr(record, "path", line)
        if len(method) <= LONGEST_METHOD and redacted(path) == path:
            return line
    return redacted(line)


def set_up(settings: Settings) -> None:
    """Send this process's log to standard error as the settings say."""
    style = settings.log_format or ("console" if sys.stderr.isatty() else "json")
    # A descriptor of its own: libraries that write to descriptor 2 by themselves can be silenced without it.
    handler = logging.StreamHandler(os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", buffering=1))
    handler.setFormatter(JsonLines() if style == "json" else Console())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for name in ("pymongo", "absl", "tensorflow", "werkzeug", "h5py"):
        logging.getLogger(name).setLevel(logging.WARNING)
