"""The child process in which a model file is loaded: it gets next to nothing, and never outlives its limits."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ml.build.processes import ProcessGroup
from ml.build.report import BuildError
from ml.build.turns import Clock, Turn

LOG_BYTES = 16_000
#: A build tells of itself in some kB; one that floods keeps the server busy with reading.
MOST_LOG_BYTES = 8 * 2**20
#: The database stops where its disk is full: so much of it stays free, or half of what was free before.
LEAST_FREE_BYTES = 2**30
TICK_SECONDS = 0.1
# TensorFlow's greetings, which no log level turns off.
_NOISE = re.compile(r"WARNING: All log messages before absl::|[IW]\d{4} \d\d:\d\d:\d\d")


class Starved(BuildError):
    """A child whose turn was the last did not get on: what it did is lost."""


@dataclass(frozen=True)
class Ended:
    """A child that came to its own end: its exit code (negative for a signal) and the end of what it wrote."""

    code: int
    log: str


def run_child(
    script: Path,
    arguments: Sequence[str],
    *,
    home: Path,
    seconds: float,
    memory_mb: int,
    turn: Turn = Turn.EQUAL,
    progress: Callable[[str], None] | None = None,
) -> Ended:
    """Run `script` in `home`, an empty private directory, to its end; nothing that it started lives on afterwards.

    `seconds` are of the time in which it did not wait for a processor; it may wait three times that beside it.
    `memory_mb` is for everything it starts together. The script gets this process's id before its other arguments,
    and must see to it that it dies with it. Blocks, and must be called on a thread that lives as long (the child's
    death signal is tied to the thread that started it). Raises BuildError where a limit was passed, Starved where the
    processors never came to its turn. An exception from `progress`, which gets each line as it is written, ends the
    child and is passed on.
    """
    log = _Log(progress)
    # The mark finds what has left the group and lost its parent.
    mark = f"ALMANAC_BUILD={os.urandom(16).hex()}"
    started = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-I", str(script), str(os.getpid()), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=home,
        env=dict(entry.split("=", 1) for entry in (*_environment(home), mark)),
        close_fds=True,
        # Not a session of its own: see ml/terminal.py.
        process_group=0,
        umask=0o077,
    ) as child:
        assert child.stdout is not None
        turn.take(child.pid)
        pipe = child.stdout.fileno()
        os.set_blocking(pipe, False)
        group = ProcessGroup(child.pid, mark)
        try:
            clock = Clock(child.pid, started, seconds)
            broken = _watch(child, pipe, log, group, home, clock, turn, memory_mb * 2**20)
        finally:
            group.kill()
        # Everything that held the other end is gone, so this ends; the wait is for what the kernel will not let go.
        while not log.too_long and select.select([pipe], [], [], TICK_SECONDS)[0] and log.take(pipe):
            pass
    log.finish()
    if broken == "wait":
        raise Starved("the processors never came to its turn", log.text())
    if broken == "time":
        raise BuildError(f"the build took longer than {seconds:g} s", log.text())
    if broken == "memory":
        raise BuildError(f"the build used more than {memory_mb:,} MB of memory", log.text())
    if broken == "disk":
        raise BuildError("the build wrote so much that the disk is nearly full", log.text())
    if broken == "log":
        raise BuildError(f"the build printed more than {MOST_LOG_BYTES // 2**20} MB", log.text())
    return Ended(child.returncode, log.text())


def _watch(
    child: subprocess.Popen[bytes],
    pipe: int,
    log: _Log,
    group: ProcessGroup,
    home: Path,
    clock: Clock,
    turn: Turn,
    most_bytes: int,
) -> Literal["time", "wait", "memory", "disk", "log"] | None:
    """Read the log until the child ends or a limit is passed."""
    open_pipe, looked = True, 0.0
    least_free = min(LEAST_FREE_BYTES, _free_bytes(home) // 2)
    while child.poll() is None:
        if open_pipe:
            open_pipe = not select.select([pipe], [], [], TICK_SECONDS)[0] or log.take(pipe)
        else:
            _wait(child)
        now = time.monotonic()
        if clock.over(now):
            return "time"
        if turn is Turn.LAST and clock.starved(now):
            return "wait"
        if log.too_long:
            return "log"
        if now - looked > TICK_SECONDS:
            looked = now
            if group.memory_bytes() > most_bytes:
                return "memory"
            if _free_bytes(home) < least_free:
                return "disk"
    return None


def _free_bytes(directory: Path) -> int:
    return shutil.disk_usage(directory).free


def described(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _environment(home: Path) -> tuple[str, ...]:
    return (
        f"HOME={home}",
        f"TMPDIR={home}",
        f"KERAS_HOME={home}",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "LANG=C.UTF-8",
        "KERAS_BACKEND=tensorflow",
        "CUDA_VISIBLE_DEVICES=-1",
        "TF_CPP_MIN_LOG_LEVEL=3",
    )


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(TICK_SECONDS)
    except subprocess.TimeoutExpired:
        return


class _Log:
    """The lines of the child as they come, and the end of them all."""

    def __init__(self, progress: Callable[[str], None] | None) -> None:
        self._progress = progress
        self._kept = bytearray()
        self._line = bytearray()
        self._taken = 0

    @property
    def too_long(self) -> bool:
        return self._taken > MOST_LOG_BYTES

    def take(self, pipe: int) -> bool:
        """Read what is there; False at the end of the pipe."""
        try:
            data = os.read(pipe, 2**16)
        except BlockingIOError:
            return True
        self._taken += len(data)
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._end_line(line)
        self._line += rest
        if len(self._line) > LOG_BYTES:
            self._end_line(b"")
        return bool(data)

    def finish(self) -> None:
        if self._line:
            self._end_line(b"")

    def text(self) -> str:
        return self._kept[-LOG_BYTES:].decode(errors="ignore")

    def _end_line(self, end: bytes) -> None:
        text = (self._line + end).decode(errors="replace")
        self._line.clear()
        if _NOISE.match(text):
            return
        self._kept += text.encode() + b"\n"
        if len(self._kept) > 8 * LOG_BYTES:
            del self._kept[:-LOG_BYTES]
        if self._progress is not None:
            self._progress(text)
