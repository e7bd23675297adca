"""Keeps the threads that need the interpreter on one processor core, since one of them alone can have it.

Spread over the cores they wake one another from core to core at each turn, and take the interpreter's data from one
core's cache to the other's. Measured on 2 cores with 32 connections, predictions a second with and without: 3,300 and
2,550 unstored, 2,350 and 1,650 stored. What works without the interpreter runs on every core: long calls of a model,
the decoding of images, builds.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger(__name__)

PROC = Path("/proc")
#: Seconds between two looks at the load of the cores, and the share of a core by which another must be freer to move.
PERIOD = 3.0
FREER = 0.25
#: Requests at once from which on they contend for the interpreter.
MANY = 4
#: Seconds of a call's processor time beyond which it is worth a wake-up on another core.
LONG = 0.002

#: Where this process may run at all, read before any thread is kept to one core; empty where the system cannot tell.
ALLOWED: frozenset[int] = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else frozenset()


def anywhere() -> None:
    """Let this thread run on every core: a thread that another starts is kept where that one is."""
    if len(ALLOWED) > 1:
        with suppress(OSError):
            os.sched_setaffinity(0, ALLOWED)


@contextmanager
def spread() -> Iterator[None]:
    """Within it this thread, and those that it starts, run on every core; for long work without the interpreter."""
    if len(ALLOWED) < 2:
        yield
        return
    before = os.sched_getaffinity(0)
    anywhere()
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, before)


def _schedule(policy: int) -> None:
    with suppress(OSError):  # a sandbox may forbid it
        os.sched_setscheduler(0, policy, os.sched_param(0))


class OneCore:
    """The core that threads are kept to. It is another one when others need this one more."""

    def __init__(self, inside: Callable[[], int], allowed: frozenset[int] = ALLOWED, proc: Path = PROC) -> None:
        self._inside = inside
        self._mean = 0.0
        self._many = False
        self._allowed = sorted(allowed)
        self._proc = proc
        # Worker processes have different numbers, mostly one after the other.
        self.number: int | None = self._allowed[os.getpid() % len(self._allowed)] if len(allowed) > 1 else None
        self._here = threading.local()
        self._kept: set[int] = set()
        self._before: tuple[dict[int, float], float] | None = None

    def arrive(self) -> None:
        """Tell that a request came, on its thread: whether the interpreter is contended for is seen from these."""
        self._mean += (self._inside() - self._mean) / 16
        self._many = self._mean > (MANY / 2 if self._many else MANY)
        self.stay()

    def stay(self) -> None:
        """Keep this thread to the core while there are many requests; called at every turn, so quick."""
        number = self.number if self._many else None
        if getattr(self._here, "number", None) == number:
            return
        if number is None:
            self.leave()
            return
        try:
            os.sched_setaffinity(0, {number})
            # One that is woken waits until the one that runs has to wait, rather than taking the core from it.
            _schedule(os.SCHED_BATCH)
        except OSError:  # the core was taken from this process
            self.number = None
            self.leave()
            return
        self._here.number = number
        self._kept.add(threading.get_native_id())

    def leave(self) -> None:
        """Let this thread run anywhere, until it stays again."""
        self._here.number = None
        self._kept.discard(threading.get_native_id())
        anywhere()
        _schedule(os.SCHED_OTHER)

    def watch(self) -> None:
        """Look at the cores' load every few seconds, for ever."""
        anywhere()
        while self.number is not None:
            # Two processes on one core must not both leave it at once.
            time.sleep(PERIOD + os.getpid() % 10 / 5)
            self.look()

    def look(self) -> None:
        """Compare what the cores did since the last look; go where there is more room."""
        try:
            now = self._busy(), self._own()
        except (OSError, ValueError, IndexError):
            self._before = None
            return
        before, self._before = self._before, now
        if before is None or self.number is None:
            return
        load = {core: now[0].get(core, 0.0) - before[0].get(core, 0.0) for core in self._allowed}
        elapsed = now[0].get(-1, 0.0) - before[0].get(-1, 0.0)
        others = load[self.number] - (now[1] - before[1])
        freest = min(self._allowed, key=lambda core: others if core == self.number else load[core])
        if freest != self.number and others - load[freest] > FREER * elapsed:
            log.info("the interpreter's threads go from core %d to core %d, which is freer", self.number, freest)
            self.number = freest

    def _busy(self) -> dict[int, float]:
        """Seconds that each core worked since the machine started, and as core -1 the seconds that went by on one."""
        tick = os.sysconf("SC_CLK_TCK")
        busy: dict[int, float] = {}
        for line in (self._proc / "stat").read_text().splitlines():
            name, *numbers = line.split()
            if name.startswith("cpu") and name != "cpu":
                user, nice, system, idle, waiting, interrupts, soft, steal = map(int, numbers[:8])
                busy[int(name[3:])] = (user + nice + system + interrupts + soft + steal) / tick
                busy[-1] = (user + nice + system + idle + waiting + interrupts + soft + steal) / tick
        return busy

    def _own(self) -> float:
        """Seconds that the kept threads ran, those that have ended left out."""
        total = 0
        for thread in list(self._kept):
            try:
                total += int((self._proc / "self/task" / str(thread) / "schedstat").read_text().split()[0])
            except FileNotFoundError:
                self._kept.discard(thread)
        return total / 1e9


_core: OneCore | None = None


def keep_to_one(inside: Callable[[], int]) -> None:
    """From now on `stay` means something in this process. Without this, threads run where the system puts them.

    `inside` says how many requests are under way.
    """
    global _core
    if len(ALLOWED) > 1:
        _core = OneCore(inside)
        threading.Thread(target=_core.watch, name="cores", daemon=True).start()


def arrive() -> None:
    """Tell that a request came; what comes before `stay` on its thread."""
    if _core is not None:
        _core.arrive()


def stay() -> None:
    """Keep this thread to the interpreter's core, where there is one."""
    if _core is not None:
        _core.stay()


class ByCost:
    """Keeps a thread that calls a model to the interpreter's core while the calls are short, else lets it go."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._long = False

    def spent(self, seconds: float) -> None:
        """Tell what a call took of the processor, on the thread that made it."""
        self._mean += (seconds - self._mean) / 8
        if self._mean > (LONG / 2 if self._long else LONG):
            if not self._long and _core is not None:
                _core.leave()
            self._long = True
        else:
            self._long = False
            stay()
