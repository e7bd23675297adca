"""The embedded MongoDB from nothing to a writable primary, at the first start and after a crash at each step."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.errors import OperationFailure

from ml.database.embedded import EmbeddedError, EmbeddedMongo, running_uri
from ml.database.embedded.binary import find_mongod

Client = MongoClient[dict[str, Any]]

STEPS = ["listening", "initiated", "primary", "root", "user"]
DURABLE = WriteConcern("majority", j=True)


@pytest.fixture(scope="module", autouse=True)
def _mongod() -> None:
    try:
        find_mongod()
    except EmbeddedError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """With a path short enough for a socket, and removed at once: each holds some 300 MB of journal."""
    directory = Path(tempfile.mkdtemp(prefix="alm-"))
    yield directory
    shutil.rmtree(directory)


@contextmanager
def up(data_dir: Path) -> Iterator[EmbeddedMongo]:
    """Killed at the end: a clean stop takes a second, and what was acknowledged must outlive this too."""
    mongo = EmbeddedMongo(data_dir)
    mongo.start()
    try:
        yield mongo
    finally:
        mongo.stop(timeout=0)


def client(uri: str, **more: Any) -> Client:
    return MongoClient(uri, serverSelectionTimeoutMS=5000, **more)


def root_client(data_dir: Path) -> Client:
    """As a person would come in who looks after the database."""
    host = quote(str(data_dir / "mongod.sock"), safe="")
    password = (data_dir / "root.pw").read_text()
    return client(f"mongodb://root:{password}@{host}/?authSource=admin&directConnection=true")


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def keep(uri: str, number: int) -> None:
    with client(uri) as connected:
        connected.almanac.get_collection("inputs", write_concern=DURABLE).insert_one({"_id": number})


def kept(uri: str) -> list[int]:
    with client(uri) as connected:
        return [found["_id"] for found in connected.almanac.inputs.find().sort("_id")]


def test_first_start_is_fast_and_stop_is_clean(data_dir: Path) -> None:
    """About 0.7 s here; the bound is for a busy machine, and below the 10 s of a client that waits for its monitor."""
    mongo = EmbeddedMongo(data_dir / "made" / "here")
    began = time.monotonic()
    uri = mongo.start()
    assert time.monotonic() - began < 5
    assert mongo.poll() is None
    keep(uri, 1)
    mongo.stop()
    mongo.stop()
    assert mongo.poll() == 0
    assert not (data_dir / "made" / "here" / "mongo.uri").exists()
    assert running_uri(data_dir / "made" / "here") is None
    assert mongo.start() == uri
    assert kept(uri) == [1]
    mongo.stop()


def test_a_port_opens_loopback_too(data_dir: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mongo = EmbeddedMongo(data_dir, port=port)
    uri = mongo.start()
    try:
        listening = [found.laddr for found in psutil.Process(mongo.pid).net_connections(kind="inet")]
        assert [tuple(address) for address in listening] == [("127.0.0.1", port)]
        keep(uri, 1)
        password = (data_dir / "almanac.pw").read_text()
        assert kept(f"mongodb://almanac:{password}@127.0.0.1:{port}/almanac?directConnection=true") == [1]
    finally:
        mongo.stop()
    with up(data_dir) as without:
        assert psutil.Process(without.pid).net_connections(kind="inet") == []
        assert kept(uri) == [1]


def test_nobody_else_makes_the_first_user(data_dir: Path) -> None:
    """With a port, any user of the machine could connect before the users exist."""
    refusals: list[int | None] = []

    def intrude(step: str) -> None:
        if step == "primary":
            host = quote(str(data_dir / "mongod.sock"), safe="")
            with client(f"mongodb://{host}/?directConnection=true") as connected:
                with pytest.raises(OperationFailure) as raised:
                    connected.admin.command("createUser", "intruder", pwd="x", roles=["root"])
                refusals.append(raised.value.code)

    mongo = EmbeddedMongo(data_dir)
    mongo._step = intrude
    with mongo:
        assert refusals == [13]


@pytest.mark.parametrize("step", STEPS)
def test_killed_in_the_middle_of_the_first_start(data_dir: Path, step: str) -> None:
    """`listening` is before replSetInitiate, `initiated` before createUser, `root` between the two users."""
    mongo = EmbeddedMongo(data_dir)
    seen: list[str] = []

    def kill(name: str) -> None:
        seen.append(name)
        if name == step:
            os.kill(mongo.pid, signal.SIGKILL)
            raise InterruptedError(step)

    mongo._step = kill
    with pytest.raises(EmbeddedError):
        mongo.start()
    assert seen == STEPS[: STEPS.index(step) + 1]
    assert mongo.poll() == -signal.SIGKILL
    assert not (data_dir / "mongo.uri").exists()

    with up(data_dir):
        uri = running_uri(data_dir)
        assert uri is not None
        keep(uri, 1)
        with root_client(data_dir) as root:
            users = root.admin["system.users"].find()
            assert {(user["db"], user["user"], user["roles"][0]["role"]) for user in users} == {
                ("admin", "root", "root"),
                ("almanac", "almanac", "readWrite"),
            }


@pytest.mark.parametrize("step", ["listening", "primary"])
def test_killed_under_the_bootstrap(data_dir: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """mongod dies and the bootstrap goes on, not knowing: what is told is how mongod ended."""
    monkeypatch.setattr("ml.database.embedded.bootstrap._SELECTION_MS", 300)
    mongo = EmbeddedMongo(data_dir)

    def kill(name: str) -> None:
        if name == step:
            os.kill(mongo.pid, signal.SIGKILL)
            until(lambda: mongo.poll() is not None)

    mongo._step = kill
    with pytest.raises(EmbeddedError, match="SIGKILL"):
        mongo.start()
    assert running_uri(data_dir) is None


def test_passwords_that_were_lost_are_made_again(data_dir: Path) -> None:
    with up(data_dir):
        uri = running_uri(data_dir)
        assert uri is not None
        keep(uri, 1)
    (data_dir / "almanac.pw").unlink()
    (data_dir / "root.pw").unlink()
    with up(data_dir):
        again = running_uri(data_dir)
        assert again is not None
        assert again != uri
        assert kept(again) == [1]
        with root_client(data_dir) as root:
            assert root.admin.command("getCmdLineOpts")["ok"]


def test_a_key_that_was_lost_is_made_again(data_dir: Path) -> None:
    with up(data_dir):
        uri = running_uri(data_dir)
        assert uri is not None
        keep(uri, 1)
    (data_dir / "mongod.key").unlink()
    with up(data_dir):
        assert kept(uri) == [1]
