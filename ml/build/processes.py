"""A process and everything that it started, also what has moved to another session or lost its parent."""

from __future__ import annotations

import time

import psutil

#: How long a killed process may take to go: one that is stuck in the kernel goes when the kernel lets it.
KILL_SECONDS = 5.0


class ProcessGroup:
    """The processes of the session that `leader` leads, their descendants, and whatever carries `mark`.

    `mark` is an entry (`NAME=value`) of the leader's environment, which every process inherits at its birth.
    """

    def __init__(self, leader: int, mark: str) -> None:
        self._leader = leader
        self._mark = mark.encode()
        self._members: set[psutil.Process] = set()
        self._strangers: set[psutil.Process] = set()

    def living(self) -> set[psutil.Process]:
        """Those that are alive now; zombies are not."""
        everything = {process.pid: process for process in psutil.process_iter()}
        # A Process equals another of the same number only where that was started at the same moment.
        self._members &= set(everything.values())
        self._strangers &= set(everything.values())
        while True:
            numbers = {process.pid for process in self._members}
            others = [process for process in everything.values() if process not in self._members]
            found = {process for process in others if self._belongs(process, numbers)}
            if not found:
                break
            self._members |= found
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

    def _belongs(self, process: psutil.Process, members: set[int]) -> bool:
        if process.pid == self._leader:
            return True
        try:
            parent, session = _parent_and_session(process.pid)
            if session == self._leader or parent in members:
                return True
            if process in self._strangers:
                return False
            # Once a process: what it inherited does not change, and reading it is the dear part of this.
            with open(f"/proc/{process.pid}/environ", "rb") as environ:  # noqa: PTH123 (read whole and at once)
                marked = self._mark in environ.read().split(b"\0")
        except OSError:
            return False
        if not marked:
            self._strangers.add(process)
        return marked


def _parent_and_session(pid: int) -> tuple[int, int]:
    """Of a process, in one read of proc(5): psutil takes four, which for all processes ten times a second is felt."""
    with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 (read whole and at once)
        # Its name, in brackets, may hold anything, brackets too.
        _state, parent, _group, session = stat.read().rpartition(b")")[2].split(maxsplit=4)[:4]
    return int(parent), int(session)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False
