"""What the workers computed, whatever became of it: read from the file in which the stub executor notes each call."""

from __future__ import annotations

from collections import Counter
from pathlib import Path


class Tally:
    """The calls that were made since this object was, by any process. A row is known by the sum of its numbers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = path.stat().st_size if path.exists() else 0

    def calls(self) -> list[tuple[int, list[int]]]:
        """Process id and rows of each call, in the order in which they began; without those that warm a model up."""
        if not self._path.exists():
            return []
        with self._path.open() as file:
            file.seek(self._start)
            lines = [[int(number) for number in line.split()] for line in file if line.endswith("\n")]
        return [(line[0], line[1:]) for line in lines if any(line[1:])]

    def rows(self) -> Counter[int]:
        """How often each row was computed."""
        return Counter(row for _, rows in self.calls() for row in rows)

    def processes(self) -> Counter[int]:
        """How many rows each process computed."""
        found: Counter[int] = Counter()
        for process, rows in self.calls():
            found[process] += len(rows)
        return found
