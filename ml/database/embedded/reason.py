"""Why a mongod ended, in words, from its exit code, what it printed and its log."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

#: How many of the last meaningful lines are told.
LINES = 3
#: How much of the end of a log is read, bytes.
TAIL = 256 * 1024

_MISSING = re.compile(r"error while loading shared libraries: (\S+): ")
_PACKAGES = {"libcurl.so.4": "apt-get install libcurl4", "libssl.so.3": "apt-get install libssl3"}


def why_it_ended(code: int, printed: str, logged: str = "") -> str:
    """What follows "mongod ...": how it ended, the last lines that tell why, and what to do where that is known."""
    missing = _MISSING.search(printed)
    if missing:
        library = missing[1]
        cure = _PACKAGES.get(library, f"install the package that has {library}")
        return f"cannot run, the library {library} is missing: {cure}"
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    if -code == signal.SIGILL:
        ended += " (MongoDB 5 and newer need a CPU with AVX: set ALMANAC_MONGO_URI to a MongoDB elsewhere)"
    text = "; ".join(_telling(logged) or _telling(printed))
    if "Address already in use" in text:
        text += "; choose another ALMANAC_EMBEDDED_PORT, or none"
    return f"{ended}: {text}" if text else ended


def tail_of(log: Path, since: int) -> str:
    """The end of what was logged after byte `since`."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(since, end - TAIL))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _telling(text: str) -> list[str]:
    """The last errors in mongod's log lines, else its last warnings, else its last plain lines."""
    entries = [_entry(line) for line in text.splitlines() if line.strip()]
    for severities in ("FE", "W", "-"):
        lines = [words for severity, words in entries if severity in severities and words]
        if lines:
            return list(dict.fromkeys(lines))[-LINES:]  # mongod says some things twice
    return []


def _entry(line: str) -> tuple[str, str]:
    """Severity and words of a log line; a line that is not mongod's JSON has the severity "-"."""
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or "msg" not in entry:
        return "-", " ".join(line.split())
    severity = str(entry.get("s", "I")).strip()[:1] or "I"
    if entry.get("c") == "ASSERT" or entry["msg"] == "Writing fatal message":
        return severity, ""  # that it gave up; the reason is in the lines before
    detail = _detail(entry.get("attr"))
    return severity, " ".join(f"{entry['msg']}: {detail}".split()) if detail else str(entry["msg"])


def _detail(attributes: Any) -> str:
    """The reason among a log line's attributes; mongod's own errors and its storage engine's differ in shape."""
    if not isinstance(attributes, dict):
        return ""
    error, message = attributes.get("error"), attributes.get("message")
    if isinstance(error, dict) and "errmsg" in error:
        return str(error["errmsg"])
    if isinstance(message, dict) and "msg" in message:
        return str(message["msg"])
    return str(error or message or "")
