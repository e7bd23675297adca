"""One Almanac holds a data directory: others are told who, and a dead one holds nothing."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ml.database.embedded import DirectoryHeld, EmbeddedError, running_uri
from ml.database.embedded.holder import Holder

ROOT = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:8123"

#: Holds the directory; with "fork", a child that inherited everything lives on after it.
HOLD = """
import os, signal, sys
from pathlib import Path
from ml.database.embedded.holder import Holder
holder = Holder(Path(sys.argv[1]) / "almanac.lock", sys.argv[2])
holder.acquire()
child = os.fork() if "fork" in sys.argv else -1
if child:
    print(child, flush=True)
signal.pause()
"""

TRY = """
import sys
from pathlib import Path
from ml.database.embedded.errors import DirectoryHeld
from ml.database.embedded.holder import Holder
try:
    Holder(Path(sys.argv[1]) / "almanac.lock", None).acquire()
except DirectoryHeld as error:
    print(error)
else:
    print("free")
"""


def attempt(directory: Path) -> str:
    """What another process is told when it tries to hold the directory."""
    ran = subprocess.run(
        [sys.executable, "-c", TRY, directory], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return ran.stdout.strip()


class Other:
    """Another process that holds the directory."""

    def __init__(self, directory: Path, *more: str) -> None:
        command = [sys.executable, "-c", HOLD, str(directory), ADDRESS, *more]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.child = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    held = Holder(tmp_path / "almanac.lock", ADDRESS)
    held.acquire()
    yield held
    held.release()


def test_a_second_process_is_told_who_holds_it(holder: Holder, tmp_path: Path) -> None:
    told = attempt(tmp_path)
    for word in (str(tmp_path), str(os.getpid()), ADDRESS, "ALMANAC_DATA_DIR"):
        assert word in told


def test_without_an_address(tmp_path: Path) -> None:
    held = Holder(tmp_path / "almanac.lock", None)
    held.acquire()
    try:
        assert f"(pid {os.getpid()})" in attempt(tmp_path)
    finally:
        held.release()


def test_a_second_use_in_this_process_is_refused_and_does_not_drop_the_lock(holder: Holder, tmp_path: Path) -> None:
    with pytest.raises(DirectoryHeld, match=str(os.getpid())):
        Holder(tmp_path / "almanac.lock", None).acquire()
    assert "in use" in attempt(tmp_path)


def test_by_another_name_it_is_the_same_directory(holder: Holder, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(DirectoryHeld):
        Holder(link / "almanac.lock", None).acquire()
    assert "in use" in attempt(tmp_path)


def test_asking_does_not_drop_the_lock(holder: Holder, tmp_path: Path) -> None:
    (tmp_path / "mongo.uri").write_text("mongodb://here\n")
    assert running_uri(tmp_path) == "mongodb://here"
    assert "in use" in attempt(tmp_path)


def test_release_gives_it_back(holder: Holder, tmp_path: Path) -> None:
    holder.release()
    holder.release()
    assert not holder.holds
    assert attempt(tmp_path) == "free"
    holder.acquire()
    assert "in use" in attempt(tmp_path)


def test_a_refused_holder_does_not_release_the_others_lock(holder: Holder, tmp_path: Path) -> None:
    second = Holder(tmp_path / "almanac.lock", None)
    with pytest.raises(DirectoryHeld):
        second.acquire()
    second.release()
    assert "in use" in attempt(tmp_path)


def test_a_killed_holder_holds_nothing_though_its_child_lives(tmp_path: Path) -> None:
    other = Other(tmp_path, "fork")
    try:
        assert str(other.process.pid) in attempt(tmp_path)
        other.kill()
        assert psutil.pid_exists(other.child)
        assert attempt(tmp_path) == "free"
    finally:
        os.kill(other.child, 9)


def test_a_forked_child_does_not_hold_and_cannot_release(holder: Holder, tmp_path: Path) -> None:
    (tmp_path / "mongo.uri").write_text("mongodb://here\n")
    child = os.fork()
    if child == 0:
        try:
            holder.release()  # as a `with` block that the child leaves would
            (tmp_path / "said").write_text(f"{holder.holds}, {running_uri(tmp_path)}")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "said").read_text() == "False, mongodb://here"
    assert "in use" in attempt(tmp_path)


def test_running_uri(tmp_path: Path) -> None:
    uri = tmp_path / "mongo.uri"
    assert running_uri(tmp_path / "nowhere") is None
    uri.write_text("mongodb://stale\n")
    assert running_uri(tmp_path) is None
    other = Other(tmp_path)
    try:
        assert running_uri(tmp_path) == "mongodb://stale"
        uri.unlink()
        assert running_uri(tmp_path) is None, "held, but not up yet"
    finally:
        other.kill()
    uri.write_text("mongodb://stale\n")
    assert running_uri(tmp_path) is None


def test_asking_never_takes_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start in the moment of a question must not be refused."""
    (tmp_path / "almanac.lock").touch()

    def refuse(*arguments: object) -> None:
        raise AssertionError("running_uri took the lock")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert running_uri(tmp_path) is None


def test_a_lock_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "almanac.lock"
    lock.touch()

    def refuse(path: Path, flags: int, mode: int = 0) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(EmbeddedError, match="run this as its owner"):
        running_uri(tmp_path)
