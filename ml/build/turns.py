"""When a process gets the processors where they do not suffice for all, and how much of its time it waited for them."""

from __future__ import annotations

import contextlib
import os
from enum import Enum
from pathlib import Path

#: How much longer than its own time a process may take because it waits, times that time.
LONGEST_WAIT = 3
#: Seconds of waiting with less than a tenth as much running, after which its turn never comes.
STARVED_SECONDS = 5.0
SHARE = 0.1
#: Seconds between two looks at what its threads did: there may be many.
LOOK_SECONDS = 1.0
NICE = 5


class Turn(Enum):
    """Where a process stands beside others."""

    EQUAL = "equal"
    #: It gets about a third of what each of the others gets.
    BEHIND = "behind"
    #: It gets what nobody else wants, and who wakes takes it away at once. One that is behind keeps its core for some
    #: milliseconds first, and where everything waits that long, the slowest predictions take twice as long.
    LAST = "last"

    def take(self, pid: int) -> None:
        """Put a process there, before it starts threads: they inherit it. It cannot be led up again."""
        with contextlib.suppress(OSError):
            if self is Turn.LAST:
                os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
            elif self is Turn.BEHIND:
                os.setpriority(os.PRIO_PROCESS, pid, NICE)
                os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))


class Clock:
    """The time of a process, that in which it waited for a processor left out; where the kernel does not count, all.

    `seconds` are what it has from the monotonic moment `started` on. `proc` is proc(5).
    """

    def __init__(self, pid: int, started: float, seconds: float, proc: Path = Path("/proc")) -> None:
        self._threads = proc / str(pid) / "task"
        self._first = self._threads / str(pid)
        self._started = started
        self._seconds = seconds
        self._looked = started
        #: When the time began in which it hardly ran, and the seconds that its threads had run and waited until then.
        self._since = (started, 0.0, 0.0)

    def over(self, now: float) -> bool:
        """Whether its time is over at a monotonic moment."""
        passed = now - self._started
        if passed <= self._seconds:
            return False
        _, waited = _ran_and_waited(self._first)
        return passed > self._seconds + min(waited, LONGEST_WAIT * self._seconds)

    def starved(self, now: float) -> bool:
        """Whether it has waited for long and hardly run."""
        if now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        try:
            threads = [_ran_and_waited(thread) for thread in self._threads.iterdir()]
        except OSError:
            return False
        total = (now, sum(ran for ran, _ in threads), sum(waited for _, waited in threads))
        passed, ran, waited = (at - before for at, before in zip(total, self._since, strict=True))
        # Less than before: a thread has ended, and nothing can be said. Many threads wait longer than the time that
        # passed, for one another.
        if ran < 0 or waited < 0 or ran > SHARE * min(waited, passed):
            self._since = total
            return False
        return waited >= STARVED_SECONDS


def _ran_and_waited(thread: Path) -> tuple[float, float]:
    """Seconds that a thread ran, and that it was ready to run and did not."""
    try:
        ran, waited, *_ = (thread / "schedstat").read_text().split()
        return int(ran) / 1e9, int(waited) / 1e9
    except (OSError, ValueError):
        return 0.0, 0.0
