"""A process and everything that it started, also what has moved to another group or lost its parent."""

from __future__ import annotations

import contextlib
import time

import psutil

#: How long a killed process may take to go: one that is stuck in the kernel goes when the kernel lets it.
KILL_SECONDS = 5.0
#: For how long who was no member is taken for none: one of ours is a member from its birth on, and a number is not used
#: for another process so soon. To look at all of them each time would take the interpreter from predictions.
STRANGE_SECONDS = 1.0


class ProcessGroup:
    """The processes of the group that `leader` leads, their descendants, and whatever carries `mark`.

    `mark` is an entry (`NAME=value`) of the leader's environment, which every process inherits at its birth.
    """

    def __init__(self, leader: int, mark: str) -> None:
        self._leader = leader
        self._mark = mark.encode()
        self._members: set[psutil.Process] = set()
        #: The numbers of those that are none, not looked at again for a moment; and of those without the mark.
        self._strangers: set[int] = set()
        self._unmarked: set[int] = set()
        self._looked = 0.0

    def living(self) -> set[psutil.Process]:
        """Those that are alive now; zombies are not."""
        numbers = set(psutil.pids())
        if time.monotonic() - self._looked > STRANGE_SECONDS:
            self._looked = time.monotonic()
            self._strangers.clear()
        self._strangers &= numbers
        self._unmarked &= numbers
        self._members = {process for process in self._members if process.pid in numbers and process.is_running()}
        members = {process.pid for process in self._members}
        unknown = numbers - self._strangers - members
        while found := {number for number in unknown if self._belongs(number, members)}:
            unknown -= found
            members |= found
            for number in found:
                with contextlib.suppress(psutil.Error):
                    self._members.add(psutil.Process(number))
        self._strangers |= unknown
        return {process for process in self._members if _alive(process)}

    def memory_bytes(self) -> int:
        """What all of them together take: a page that several share counts once."""
        living = self.living()
        total = 0
        for process in living:
            try:
                total += process.memory_full_info().pss if len(living) > 1 else process.memory_info().rss
            except psutil.Error:
                continue
        return total

    def kill(self) -> None:
        """Kill all of them, and again until no new one has appeared in between."""
        deadline = time.monotonic() + KILL_SECONDS
        while (living := self.living()) and time.monotonic() < deadline:
            for process in living:
                try:
                    process.kill()
                except psutil.Error:
                    continue
            time.sleep(0.01)

    def _belongs(self, number: int, members: set[int]) -> bool:
        if number == self._leader:
            return True
        try:
            parent, group = _parent_and_group(number)
            if group == self._leader or parent in members:
                return True
            if number in self._unmarked:
                return False
            # Once a process: what it inherited does not change, and reading it is the dear part of this.
            with open(f"/proc/{number}/environ", "rb") as environ:  # noqa: PTH123 (read whole and at once)
                marked = self._mark in environ.read().split(b"\0")
        except OSError:
            return False
        if not marked:
            self._unmarked.add(number)
        return marked


def _parent_and_group(pid: int) -> tuple[int, int]:
    """Of a process, in one read of proc(5): psutil takes four, which for all processes ten times a second is felt."""
    with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 (read whole and at once)
        # Its name, in brackets, may hold anything, brackets too.
        _state, parent, group = stat.read().rpartition(b")")[2].split(maxsplit=3)[:3]
    return int(parent), int(group)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False
