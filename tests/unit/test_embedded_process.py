"""A program under us: it ends with us however we end, and with nothing less."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ml.database.embedded.process import Process, cache_gb, eviction_threads

ROOT = Path(__file__).parents[2]
SLEEP = ["/bin/sleep", "600"]

#: Does not heed SIGTERM, and says so once it does not.
DEAF = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
pathlib.Path(sys.argv[1]).touch()
signal.pause()
"""

PARENT = """
import signal
from ml.database.embedded.process import Process
process = Process(["/bin/sleep", "600"])
print(process.pid, flush=True)
signal.pause()
"""


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_sleep(pid: int) -> bool:
    """Past the launcher."""
    return psutil.Process(pid).cmdline() == SLEEP


@pytest.fixture
def sleeper() -> Iterator[Process]:
    process = Process(SLEEP)
    until(lambda: is_sleep(process.pid))
    yield process
    process.stop(5)


def test_a_process_group_of_its_own(sleeper: Process) -> None:
    assert os.getpgid(sleeper.pid) == sleeper.pid != os.getpgid(0)
    assert sleeper.poll() is None


def test_ends_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    until(lambda: is_sleep(pid))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not lives(pid))


def test_not_started_where_the_parent_is_gone() -> None:
    """The parent that the launcher was told of is not the one it has: it died in between."""
    launcher = ROOT / "ml/database/embedded/launcher.py"
    another = str(os.getppid())
    ran = subprocess.run(
        [sys.executable, "-I", "-S", launcher, another, "/bin/echo", "started"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert "the parent is gone" in ran.stderr


def test_outlives_the_thread_that_asked_for_it() -> None:
    made: list[Process] = []
    threads: list[int] = []

    def ask() -> None:
        threads.append(threading.get_native_id())
        made.append(Process(SLEEP))
        until(lambda: is_sleep(made[0].pid))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    until(lambda: not Path(f"/proc/self/task/{threads[0]}").exists())
    # Signals are taken in the order of their numbers: a SIGTERM that the thread's end sent would come before this one.
    os.kill(made[0].pid, signal.SIGRTMIN)
    until(lambda: made[0].poll() is not None)
    assert made[0].poll() == -signal.SIGRTMIN


def test_its_keeper_leaves_when_it_is_gone(sleeper: Process) -> None:
    def keepers() -> int:
        return sum(thread.name == "mongod-keeper" for thread in threading.enumerate())

    before = keepers()
    assert before >= 1
    os.kill(sleeper.pid, signal.SIGKILL)
    until(lambda: sleeper.poll() == -signal.SIGKILL)
    until(lambda: keepers() == before - 1)


def test_stop_is_gentle_first_and_may_be_repeated(sleeper: Process) -> None:
    sleeper.stop(5)
    assert sleeper.poll() == -signal.SIGTERM
    sleeper.stop(5)
    assert sleeper.poll() == -signal.SIGTERM


def test_stop_kills_what_does_not_heed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = Process([sys.executable, "-c", DEAF, str(ready)])
    until(ready.exists)
    process.stop(0.2)
    assert process.poll() == -signal.SIGKILL
    assert process.printed() == "deaf\n"


def test_a_program_that_is_not_there() -> None:
    process = Process(["/nowhere/mongod"])
    until(lambda: process.poll() is not None)
    assert process.poll() == 1
    assert "No such file" in process.printed()


def test_secrets_stay_out_of_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMANAC_ADMIN_KEY", "alm_secret")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/kept")
    process = Process(["/usr/bin/env"])
    until(lambda: process.poll() is not None)
    assert "alm_secret" not in process.printed()
    assert "LD_LIBRARY_PATH=/kept" in process.printed()


@pytest.mark.parametrize(("gib", "cache"), [(1, 0.25), (2.5, 0.25), (5, 0.5), (10, 1.0), (24, 2.4), (512, 4.0)])
def test_cache(gib: float, cache: float) -> None:
    assert cache_gb(int(gib * 2**30)) == pytest.approx(cache)


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (4, 2), (8, 4), (64, 4)])
def test_eviction_threads(cores: int, threads: int) -> None:
    assert eviction_threads(cores) == threads
