"""Builds by real processes are taken over when one dies."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ADMIN_KEY
from tests.end_to_end.almanac import ROOT
from tests.hostile_models import making
from tests.waiting import until

TAKEN_OVER_SECONDS = 120
#: `run.py worker` whose builds are taken over after 5 s without a sign of life, not 20.
WORKER = "import ml.builder, cli; ml.builder.LEASE_SECONDS = 5.0; cli.main(['worker'])"


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
    document = Catalog(database_of(client)).register(io.BytesIO(making.good()), "good", "admin", admin=True)

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
