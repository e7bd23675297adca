"""Builds by real processes: taken over when one dies, and of files that mean harm."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import psutil
import pytest
import requests

from tests.conftest import ADMIN_KEY, add_stub
from tests.end_to_end.almanac import ROOT, Almanac, free_port
from tests.waiting import until

TAKEN_OVER_SECONDS = 120
#: `run.py worker` whose builds are taken over after 5 s without a sign of life, not 20.
WORKER = "import ml.builder, cli; ml.builder.LEASE_SECONDS = 5.0; cli.main(['worker'])"


def archive(config: dict[str, Any], compression: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipFile:
    """A .keras file with a config and no weights, still open, in memory."""
    weights = io.BytesIO()
    h5py.File(weights, "w").close()
    made = zipfile.ZipFile(io.BytesIO(), "w", compression)
    made.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}))
    made.writestr("config.json", json.dumps(config))
    made.writestr("model.weights.h5", weights.getvalue())
    return made


def content(made: zipfile.ZipFile) -> bytes:
    stream = made.fp
    assert isinstance(stream, io.BytesIO)
    made.close()
    return stream.getvalue()


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    first = {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 4], "name": "x"}}
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [{**first, "registered_name": None}, *layers]},
        "registered_name": None,
    }


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    made = {"module": "keras.layers", "class_name": kind, "config": {"name": name, **config}}
    return {**made, "registered_name": None}


def good() -> bytes:
    """One that can be built: nothing in it has weights."""
    return content(archive(sequential(layer("Activation", "a", activation="relu"), layer("Flatten", "f"))))


def cut_in_half() -> bytes:
    whole = good()
    return whole[: len(whole) // 2]


def a_zip_bomb() -> bytes:
    made = archive(sequential())
    with made.open("assets/a.txt", "w", force_zip64=True) as member:
        for _ in range(300):
            member.write(bytes(2**20))
    return content(made)


def a_lambda() -> bytes:
    code = ["4wAAAAA=", None, None]
    function = {"class_name": "__lambda__", "config": {"code": code[0], "defaults": None, "closure": None}}
    return content(archive(sequential(layer("Lambda", "l", function=function))))


def a_path_that_climbs() -> bytes:
    made = archive(sequential())
    made.writestr("../../climbed", "x")
    return content(made)


def one_that_eats_memory() -> bytes:
    """A layer of 3.6 thousand million numbers, of which the file holds none: Keras makes them before it looks."""
    return content(archive(sequential(*(layer("Dense", f"d{n}", units=60_000) for n in range(2)))))


def one_that_never_ends() -> bytes:
    """Layers enough to keep Keras busy for many minutes."""
    return content(archive(sequential(*(layer("Dense", f"d{n}", units=4) for n in range(40_000)))))


HARMFUL: dict[str, tuple[Callable[[], bytes], str]] = {
    "cut in half": (cut_in_half, "zip"),
    "a zip bomb": (a_zip_bomb, "expands more than 100 times"),
    "a Lambda": (a_lambda, "Lambda"),
    "a path that climbs": (a_path_that_climbs, "climbed"),
    "eats memory": (one_that_eats_memory, "memory"),
    "never ends": (one_that_never_ends, "longer than 8 s"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Almanac]:
    """One whose builds may take little memory."""
    with serving(tmp_path_factory.mktemp("builds"), seconds=60) as almanac:
        yield almanac


@pytest.fixture(scope="module")
def hurried_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Almanac]:
    """One whose builds may take little time as well."""
    with serving(tmp_path_factory.mktemp("hurried"), seconds=8) as almanac:
        yield almanac


@contextmanager
def serving(directory: Path, seconds: int) -> Iterator[Almanac]:
    """One with a model that answers, and limits for builds."""
    almanac = Almanac(
        directory / "data",
        free_port(),
        "--no-jobs",
        ALMANAC_LOG_LEVEL="warning",
        ALMANAC_BUILD_SECONDS=str(seconds),
        ALMANAC_BUILD_MEMORY_MB="2000",
    )
    almanac.wait_for("^Almanac serves at", 60)
    with almanac.database() as client:
        add_stub(client, directory)
    until(lambda: answers(almanac), 20, "the model answers")
    yield almanac
    almanac.stop()


def answers(almanac: Almanac) -> bool:
    return almanac.post("models/sums/predict", json={"instances": [[1, 2, 3]]}).status_code == 200


@pytest.mark.parametrize("name", HARMFUL)
def test_a_harmful_file_fails_with_a_reason_in_time_and_the_server_is_unharmed(
    name: str, request: pytest.FixtureRequest
) -> None:
    make, word = HARMFUL[name]
    server: Almanac = request.getfixturevalue("hurried_server" if name == "never ends" else "server")
    processes = {process.pid for process in server.family()}
    answer = server.post("models", files={"file": ("model.keras", make())}, data={"name": "harmful"})
    assert answer.status_code == 201, answer.text
    model = answer.json()["_id"]

    def ended() -> dict[str, Any] | None:
        assert answers(server), "others are answered meanwhile"
        document: dict[str, Any] = server.get(f"models/{model}").json()
        return document if document["state"] != "loading" else None

    document = until(ended, 60, "it is no longer loading")
    assert document["state"] == "failed"
    assert word in document["error"], document["error"]
    until(lambda: {process.pid for process in server.family()} == processes, 10, "no process of the build is left")
    until(lambda: not list((server.data / "cache" / "builds").iterdir()), 10, "nor a file of it")
    assert requests.get(f"{server.url}/health/ready", timeout=5).status_code == 200


class Worker:
    """A worker process on a database: it builds what is to be built."""

    def __init__(self, uri: str, directory: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ALMANAC_")}
        environment = {"ALMANAC_MONGO_URI": uri, "ALMANAC_ADMIN_KEY": ADMIN_KEY, "ALMANAC_DATA_DIR": str(directory)}
        self.process = subprocess.Popen([sys.executable, "-c", WORKER], cwd=ROOT, env={**kept, **environment})

    @property
    def pid(self) -> int:
        return self.process.pid


@pytest.fixture
def workers(mongod: str, tmp_path: Path) -> Iterator[list[Worker]]:
    started = [Worker(mongod, tmp_path / f"replica-{number}") for number in range(2)]
    yield started
    for worker in started:
        worker.process.terminate()
        worker.process.wait(60)


def test_a_build_that_is_killed_in_the_middle_is_finished_by_another_replica(
    client: Any, workers: list[Worker]
) -> None:
    from ml.catalog import Catalog
    from ml.database.client import database_of

    models = database_of(client)["models"]
    document = Catalog(database_of(client)).register(io.BytesIO(good()), "good", "admin", admin=True)

    def under_way() -> dict[str, Any] | None:
        found = models.find_one({"_id": document["_id"], "state": "loading", "build.log": {"$ne": []}})
        return found if found and found.get("build", {}).get("log") else None

    first = until(under_way, 60, "a build that tells of its progress")
    pid = int(first["build"]["worker"].rpartition(":")[2])
    builder = next(worker for worker in workers if worker.pid == pid)
    children = psutil.Process(pid).children(recursive=True)
    assert children, "the build has a process of its own"
    builder.process.send_signal(signal.SIGKILL)
    builder.process.wait(10)
    until(lambda: not any(alive(child) for child in children), 10, "the build's process dies with its server")
    last = until(
        lambda: models.find_one({"_id": document["_id"], "state": {"$ne": "loading"}}), TAKEN_OVER_SECONDS, "an end"
    )
    assert last["state"] == "available", last.get("error")
    assert last["build"]["attempts"] == 2
    assert last["build"]["worker"] != first["build"]["worker"]
    assert last["build"]["log"][0] == "loading the file with Keras"


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
