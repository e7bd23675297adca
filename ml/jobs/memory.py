"""What a worker remembers of a job between two turns: how large its chunks are, when its next rows are due."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml.jobs import rows
from ml.traffic import Traffic

#: Rows of the first chunk, and how long a chunk is to take: a change of the job shows after one.
FIRST_ROWS = 64
CHUNK_SECONDS = 0.2
#: Rows of a chunk at most while predictions are stored, whose commits wait for it.
BESIDE_ROWS = 128
#: How much of what a slow start left undone a job with a limit may catch up on, in seconds.
CREDIT_SECONDS = 1.0
#: Seconds between two notes of progress to a webhook.
TELL_SECONDS = 5.0


@dataclass(slots=True)
class Memory:
    """Of one job, in one worker. Losing it costs a little time, nothing else."""

    #: What tells whether predictions are stored meanwhile.
    traffic: Traffic | None = None
    #: Rows a second at most; None: no limit.
    limit: float | None = None
    _rows: float = field(default_factory=lambda: float(FIRST_ROWS))
    _most: int = rows.CHUNK_ROWS
    _due: float = field(default_factory=time.monotonic)
    _told: float = field(default_factory=time.monotonic)

    def heed(self, job: Mapping[str, Any]) -> None:
        """Take what the job's document says now."""
        self.limit = job.get("max_rows_per_second")

    def size(self) -> int:
        """Rows for the next chunk."""
        most = self._rows
        if self.traffic is not None and self.traffic.is_there():
            most = min(most, BESIDE_ROWS)
        if self.limit is not None:
            most = min(most, math.ceil(self.limit * CHUNK_SECONDS))
        return max(1, min(rows.CHUNK_ROWS, self._most, int(most)))

    def took(self, count: int, seconds: float, row_bytes: int) -> None:
        """Learn from a chunk what the next one's size should be; `row_bytes` is what a result of it takes."""
        self._most = max(1, rows.CHUNK_BYTES // row_bytes)
        if count >= self.size() and seconds < CHUNK_SECONDS / 2:
            self._rows = min(self._rows * 2, rows.CHUNK_ROWS)
        elif seconds > CHUNK_SECONDS * 2:
            self._rows = max(1.0, count * CHUNK_SECONDS / seconds)

    def spend(self, count: int) -> None:
        """Note that so many rows are scored now."""
        if self.limit is not None:
            self._due = max(self._due, time.monotonic() - CREDIT_SECONDS) + count / self.limit

    def wait(self) -> float:
        """Seconds until the next rows may be scored."""
        return max(0.0, self._due - time.monotonic()) if self.limit is not None else 0.0

    def tells(self) -> bool:
        """Whether it is time to tell of progress again."""
        if time.monotonic() - self._told < TELL_SECONDS:
            return False
        self._told = time.monotonic()
        return True
