"""The embedded MongoDB under a living Almanac: brought back when it dies, in any thread, and stopped by none but us."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from ml.database.embedded import DirectoryHeld, EmbeddedError, EmbeddedMongo, running_uri
from tests.integration.embedded.databases import keep, kept, up
from tests.waiting import until


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
