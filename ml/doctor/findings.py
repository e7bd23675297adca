"""What an examination finds: one thing that was looked at, how it is, and what to do where it is not well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pymongo.errors import PyMongoError

Level = Literal["ok", "warning", "WRONG"]

#: How many of many are named.
NAMED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer; `advice` says what to do, and is there where `level` is not ok."""

    level: Level
    about: str
    found: str
    advice: str | None = None


def ok(about: str, found: str) -> Finding:
    return Finding("ok", about, found)


def warning(about: str, found: str, advice: str) -> Finding:
    return Finding("warning", about, found, advice)


def wrong(about: str, found: str, advice: str) -> Finding:
    return Finding("WRONG", about, found, advice)


def guarded(about: str, check: Iterable[Finding]) -> Iterator[Finding]:
    """The findings of a check; where it raises, that is a finding, and the next checks are made."""
    try:
        yield from check
    except PyMongoError as error:
        yield wrong(
            about,
            f"could not be looked at: {gist(error)}",
            "see that the database stays up and that Almanac's user may read and write (readWrite), then look again",
        )
    except Exception as error:  # noqa: BLE001 (the other checks are to be made)
        yield wrong(
            about,
            f"could not be looked at: {type(error).__name__}: {gist(error)}",
            "please report this as a bug of the doctor, with this line",
        )


def gist(error: BaseException) -> str:
    """An exception's message without what the driver tells of its topology, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    for tail in (", Timeout: ", " (configured timeouts", ", full error:"):
        text = text.partition(tail)[0]
    return text[:400]


def named(items: Sequence[Any]) -> str:
    """The first few, and how many more there are."""
    shown = ", ".join(str(item)[:100] for item in items[:NAMED])
    return shown if len(items) <= NAMED else f"{shown} and {len(items) - NAMED} more"


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"
