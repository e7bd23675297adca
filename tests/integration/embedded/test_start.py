"""The embedded MongoDB from nothing to a writable primary, at the first start and after a crash at each step."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from pymongo.errors import OperationFailure

from ml.database.embedded import EmbeddedError, EmbeddedMongo, running_uri
from tests.integration.embedded.databases import STEPS, client, keep, kept, root_client, up
from tests.waiting import until


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
