"""The embedded MongoDB under a living Almanac: brought back when it dies, in any thread, and stopped by none but us."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, WriteConcern

from ml.database.embedded import DirectoryHeld, EmbeddedError, EmbeddedMongo, running_uri
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


def test_restart_after_mongod_was_killed(data_dir: Path) -> None:
    mongo = EmbeddedMongo(data_dir)
    uri = mongo.start()
    try:
        keep(uri, 1)
        first = mongo.pid
        os.kill(first, signal.SIGKILL)
        until(lambda: mongo.poll() is not None)
        assert mongo.poll() == -signal.SIGKILL
        with pytest.raises(DirectoryHeld):
            EmbeddedMongo(data_dir).start()
        assert mongo.restart() == uri
        assert mongo.pid != first
        assert mongo.poll() is None
        assert running_uri(data_dir) == uri
        assert kept(uri) == [1]
        keep(uri, 2)
    finally:
        mongo.stop()


def test_restart_that_fails_keeps_the_directory_and_may_be_tried_again(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with up(data_dir) as mongo:
        uri = running_uri(data_dir)
        os.kill(mongo.pid, signal.SIGKILL)
        with monkeypatch.context() as patch:
            patch.setattr("ml.database.embedded.bootstrap.LISTEN_SECONDS", -1)
            with pytest.raises(EmbeddedError, match="did not accept connections"):
                mongo.restart()
        assert mongo.poll() is not None, "none is left behind"
        with pytest.raises(DirectoryHeld):
            EmbeddedMongo(data_dir).start()
        assert mongo.restart() == uri


def test_from_a_thread_that_ends(data_dir: Path) -> None:
    mongo = EmbeddedMongo(data_dir)
    thread = threading.Thread(target=mongo.start)
    thread.start()
    thread.join()
    uri = running_uri(data_dir)
    assert uri is not None
    os.kill(mongo.pid, signal.SIGKILL)
    thread = threading.Thread(target=mongo.restart)
    thread.start()
    thread.join()
    keep(uri, 1)
    assert mongo.poll() is None
    mongo.stop()
    assert mongo.poll() == 0


def test_out_of_order(data_dir: Path) -> None:
    mongo = EmbeddedMongo(data_dir)
    mongo.stop()
    for call in (mongo.restart, mongo.poll, lambda: mongo.pid):
        with pytest.raises(EmbeddedError, match="not started"):
            call()
    mongo.start()
    with pytest.raises(DirectoryHeld):
        mongo.start()
    assert mongo.poll() is None, "the one that runs is left alone"
    mongo.stop()
    with pytest.raises(EmbeddedError, match="was stopped"):
        mongo.restart()


def test_a_forked_child_cannot_stop_it(data_dir: Path) -> None:
    with up(data_dir) as mongo:
        child = os.fork()
        if child == 0:
            try:
                mongo.stop()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert mongo.poll() is None
        assert running_uri(data_dir) is not None
