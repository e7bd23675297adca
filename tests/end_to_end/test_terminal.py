"""Almanac in a terminal: Ctrl-C ends it in order, and what is typed there is for nothing else of it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.almanac import ROOT, free_port
from tests.waiting import until

#: Makes the terminal on descriptor 0 that of its session, and becomes the rest of its arguments, as a shell does.
SHELL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A program in the foreground of a terminal of its own."""

    def __init__(self, command: list[str], **environment: str) -> None:
        self._here, there = pty.openpty()
        os.set_blocking(self._here, False)
        self.printed = ""
        shell = [sys.executable, "-c", SHELL, *command]
        more = {**os.environ, **environment}
        self.process = subprocess.Popen(
            shell, cwd=ROOT, env=more, stdin=there, stdout=there, stderr=there, start_new_session=True
        )
        os.close(there)

    def type(self, keys: str) -> None:
        os.write(self._here, keys.encode())

    def shows(self, text: str) -> bool:
        with suppress(OSError):  # nothing new, or nobody there any more
            self.printed += os.read(self._here, 1 << 16).decode(errors="replace")
        return text in self.printed

    def close(self) -> None:
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.process.pid).children(recursive=True):
                process.kill()
        self.process.kill()
        self.process.wait()
        os.close(self._here)


@contextmanager
def terminal(command: list[str], **environment: str) -> Iterator[Terminal]:
    one = Terminal(command, **environment)
    try:
        yield one
    finally:
        one.close()


def terminal_of(process: psutil.Process) -> str | None:
    found: str | None = process.terminal()
    return found


def test_ctrl_c_ends_it_in_order(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "run.py"), "serve", "--port", str(free_port())]
    with terminal(command, ALMANAC_DATA_DIR=str(tmp_path / "data"), ALMANAC_LOG_FORMAT="json") as one:
        until(lambda: one.shows("Almanac serves at"), 60)
        family = psutil.Process(one.process.pid).children(recursive=True)
        # HTTP (the server and its worker), the worker for jobs, mongod: out of reach of what is typed, and all in one
        # session, so that a kernel that shares the processors out by session takes them for one.
        assert len(family) == 4
        assert one.process.pid not in {os.getpgid(process.pid) for process in family}
        assert {os.getsid(process.pid) for process in family} == {one.process.pid}
        ours = [process for process in family if process.name() != "mongod"]
        assert [terminal_of(process) for process in ours] == [None] * 3
        assert terminal_of(psutil.Process(one.process.pid)) is not None
        one.type("\x03")
        until(lambda: one.shows("") and one.process.poll() is not None, 60)
        assert one.process.returncode == 0
        # In order: nothing lost what it needed to end.
        assert "error" not in one.printed
        assert not any(process.is_running() for process in family)


ASKS = """
import os, sys
from ml import terminal
if sys.argv[1] == "leave":
    terminal.leave()
    terminal.leave()  # where there is none, nothing
try:
    os.close(os.open("/dev/tty", os.O_RDWR))
except OSError:
    print("has none")
else:
    print("has one")
"""
#: Not the leader of the session, as no child is.
CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]], process_group=0, check=True)"


@pytest.mark.parametrize(("does", "says"), [("leave", "has none"), ("stay", "has one")])
def test_who_has_left_its_terminal_has_none(does: str, says: str) -> None:
    with terminal([sys.executable, "-c", CHILD, ASKS, does]) as one:
        until(lambda: one.shows(says), 20)
