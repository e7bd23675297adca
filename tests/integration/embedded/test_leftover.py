"""Almanac is killed: its mongod goes too, and the next start does not have to wait for anybody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ml.database.embedded import DirectoryHeld, EmbeddedError, EmbeddedMongo, leftover, running_uri
from ml.database.embedded.binary import find_mongod
from tests.integration.embedded import databases
from tests.integration.embedded.databases import up
from tests.waiting import until

ROOT = Path(__file__).parents[3]
ADDRESS = "http://127.0.0.1:8123"

#: An Almanac: brings the database up, stores a document, and stays.
ALMANAC = """
import signal, sys
from pathlib import Path
from pymongo import MongoClient
from ml.database.embedded import EmbeddedMongo
mongo = EmbeddedMongo(Path(sys.argv[1]), address=sys.argv[2])
client = MongoClient(mongo.start())
client.almanac.get_collection("inputs").insert_one({"_id": 1})
print(mongo.pid, flush=True)
signal.pause()
"""


class Almanac:
    def __init__(self, data_dir: Path) -> None:
        command = [sys.executable, "-c", ALMANAC, str(data_dir), ADDRESS]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "it did not come up"
        self.mongod = int(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def almanac(data_dir: Path) -> Iterator[Almanac]:
    started = Almanac(data_dir)
    yield started
    started.kill()
    if lives(started.mongod):
        os.kill(started.mongod, signal.SIGKILL)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_mongod_goes_when_almanac_is_killed(almanac: Almanac) -> None:
    assert lives(almanac.mongod)
    almanac.kill()
    until(lambda: not lives(almanac.mongod))


def kept(data_dir: Path) -> list[int]:
    uri = running_uri(data_dir)
    assert uri is not None
    return databases.kept(uri)


def test_started_again_at_once(almanac: Almanac, data_dir: Path) -> None:
    almanac.kill()
    with up(data_dir) as mongo:
        assert mongo.pid != almanac.mongod
        assert not lives(almanac.mongod)
        assert kept(data_dir) == [1]


def test_one_that_cannot_leave_is_killed(
    almanac: Almanac, data_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(leftover, "LEAVE_SECONDS", 0.3)
    os.kill(almanac.mongod, signal.SIGSTOP)
    almanac.kill()
    with up(data_dir):
        assert not lives(almanac.mongod)
        assert kept(data_dir) == [1]
    assert f"(pid {almanac.mongod}) did not leave" in caplog.text


def test_a_mongod_that_a_person_started_is_not_killed(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftover, "LEAVE_SECONDS", 0.2)
    monkeypatch.setattr(leftover, "KILL_SECONDS", 0.2)
    with up(data_dir):
        pass
    address = ["--bind_ip", str(data_dir / "by-hand.sock"), "--nounixsocket"]
    command = [str(find_mongod()), "--dbpath", str(data_dir / "db"), *address]
    by_hand = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(lambda: (data_dir / "db" / "mongod.lock").read_text().strip() == str(by_hand.pid))
        with pytest.raises(EmbeddedError, match=f"did not start .pid {by_hand.pid}.: stop it"):
            EmbeddedMongo(data_dir).start()
        assert by_hand.poll() is None
    finally:
        by_hand.terminate()
        by_hand.wait()
    with up(data_dir):
        assert kept(data_dir) == []


def test_held_by_a_living_almanac(almanac: Almanac, data_dir: Path) -> None:
    uri = running_uri(data_dir)
    assert uri is not None
    assert uri == (data_dir / "mongo.uri").read_text().strip()
    with pytest.raises(DirectoryHeld) as raised:
        EmbeddedMongo(data_dir).start()
    for word in (str(data_dir), f"pid {almanac.process.pid}", ADDRESS):
        assert word in str(raised.value)
    assert running_uri(data_dir) == uri, "the attempt took nothing away"
    assert kept(data_dir) == [1]
    almanac.kill()
    assert running_uri(data_dir) is None
