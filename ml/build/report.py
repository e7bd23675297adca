"""What a build hands back: the report of one that worked, and the error of one that did not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.signature import Signature


class BuildError(Exception):
    """The file cannot be served.

    `reason` is one sentence for the person who uploaded it; `log` is the end of what the build wrote, at most 16 kB.
    """

    def __init__(self, reason: str, log: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.log = log


@dataclass(frozen=True)
class BuildReport:
    """A model that was built and proven equal to Keras.

    `ways` are those of running it that agree with Keras, `{executor, threads}`, the one to take first; `artefacts` has
    a directory for each executor among them. `table` has a row for everything that was tried, and first one for
    "keras", the yardstick: `executor`, `threads`, `ok`, `reason` where not ok, `worst` (the largest absolute difference
    from Keras), `rows` (how many were compared) and `ms` (batch size -> milliseconds a call; a batch size that would
    not have fitted into the time or memory allowed is left out).
    """

    signature: Signature
    ways: list[dict[str, Any]]
    artefacts: dict[str, Path]
    table: list[dict[str, Any]]
    log: str
    seconds: float

    @property
    def executor(self) -> str:
        """The one that was chosen."""
        return str(self.ways[0]["executor"])
