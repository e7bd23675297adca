"""The processes that are measured: started, waited for, ended; their memory and processor time."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil

ROOT = Path(__file__).resolve().parent.parent
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "ALMANAC_LOG_LEVEL": "warning"}
PROC = Path("/proc")
#: A start that takes longer has failed, an end that does is forced; the time between two looks at whether it is over.
START_SECONDS = 180.0
END_SECONDS = 90.0
LOOK_SECONDS = 0.01


def environment(**more: str) -> dict[str, str]:
    """This process' environment without what sets Almanac in it, and `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ALMANAC_")}
    return {**kept, **QUIET, **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started(command: list[str], port: int, path: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when `path` answers with anything but a 503 until the block ends."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(**more), stdout=output, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + START_SECONDS
            while status(port, path) in (0, 503):
                late = time.monotonic() > end
                if late or process.poll() is not None:
                    what = "is not up yet" if late else f"ended with {process.returncode}"
                    raise RuntimeError(f"{' '.join(command)} {what}:\n{_tail(output)}")
                time.sleep(LOOK_SECONDS)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _tail(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read()[-2000:].decode(errors="replace")


def status(port: int, path: str) -> int:
    """The status of a GET; 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def family(pid: int) -> list[psutil.Process]:
    """A process and all below it, each after its parent."""
    own = psutil.Process(pid)
    return [own, *own.children(recursive=True)]


def deepest(pid: int, word: str | None = None) -> int:
    """The process furthest below `pid`, or furthest below whose command line has `word`: a server's worker."""
    found, depth = pid, -1
    for process in family(pid):
        above = len(process.parents())
        if above > depth and (word is None or word in process.cmdline()):
            found, depth = process.pid, above
    return found


def is_mongod(process: psutil.Process) -> bool:
    return process.name().startswith("mongod")


def pss(pid: int) -> int:
    """Bytes of memory, what is shared with other processes in equal parts."""
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"the kernel does not say what memory process {pid} takes")


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and all below it have taken until now."""
    times = [process.cpu_times() for process in family(pid)]
    return sum(time.user + time.system for time in times)
