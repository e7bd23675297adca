"""Hostile model files thrown at a real server, a few at a time, while a client predicts."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import add_stub
from tests.end_to_end.almanac import Almanac, free_port
from tests.hostile_models import CORPUS, REFUSED, configs, greedy, named, weights
from tests.hostile_models.making import file, layer
from tests.waiting import until

#: At once, as many uploads as a careless client would start.
UPLOADS = 4
#: One in so many of what is refused unread; 1 for all.
ONE_IN = int(os.environ.get("TEST_HOSTILE_ONE_IN", "4"))
#: And of what Keras is imported for, which takes seconds each, one of every kind. Each of the corpus is tried in
#: tests/integration/test_hostile_models.py, and `make bench PART=hostile` sends everything.
SENT = [
    *list(named(REFUSED, 0))[::ONE_IN],
    *named(dict.fromkeys((weights.an_external_link, configs.an_input_of_a_terabyte), ""), 0),
    *named(dict.fromkeys((greedy.one_that_eats_memory,), ""), 0),
]
#: What takes all the time that there is.
ENDLESS = [*named(dict.fromkeys((greedy.one_that_never_ends,), ""), 0)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Almanac]:
    """One with a model that answers, and little memory for builds."""
    with serving(tmp_path_factory.mktemp("hostile"), seconds=120) as almanac:
        yield almanac


@pytest.fixture
def hurried(tmp_path: Path) -> Iterator[Almanac]:
    """One that has little time for builds as well."""
    with serving(tmp_path, seconds=8) as almanac:
        yield almanac


@contextmanager
def serving(directory: Path, seconds: int) -> Iterator[Almanac]:
    almanac = Almanac(
        directory / "data",
        free_port(),
        "--no-jobs",
        ALMANAC_LOG_LEVEL="warning",
        ALMANAC_BUILD_SECONDS=str(seconds),
        ALMANAC_BUILD_MEMORY_MB="1500",
    )
    almanac.wait_for("^Almanac serves at", 60)
    with almanac.database() as client:
        add_stub(client, directory)
    until(lambda: predicted(almanac).status_code == 200, 20, "the model answers")
    yield almanac
    almanac.stop()


def predicted(almanac: Almanac) -> requests.Response:
    return almanac.post("models/sums/predict", json={"instances": [[1, 2, 3]]})


class Predicting:
    """A client that predicts until it is told to stop, and keeps what was answered otherwise than it should be."""

    def __init__(self, server: Almanac, right: Any) -> None:
        self.wrong: list[str] = []
        self.count = 0
        self._server = server
        self._right = right
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._predict)

    def __enter__(self) -> Predicting:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _predict(self) -> None:
        while not self._stop.wait(0.02):
            try:
                answer = predicted(self._server)
            except requests.RequestException as error:
                self.wrong.append(repr(error))
                continue
            self.count += 1
            if answer.status_code != 200 or answer.json()["predictions"][0]["output"] != self._right:
                self.wrong.append(answer.text)


# Builds one after another, each of which starts a process.
@pytest.mark.timeout(600)
def test_each_fails_with_its_reason_while_others_are_answered_and_nothing_is_left(server: Almanac) -> None:
    throw(SENT, server)


def test_so_does_one_that_never_ends(hurried: Almanac) -> None:
    throw(ENDLESS, hurried)


def throw(sent: list[str], server: Almanac) -> None:
    right = predicted(server).json()["predictions"][0]["output"]
    processes = {process.pid for process in server.family()}
    with server.database() as database:
        stored_before = {one["_id"] for one in database["almanac"]["files.files"].find()}
    outside = set(map(str, server.data.parent.parent.glob("*")))

    def upload(name: str) -> str:
        content = CORPUS[name].make()
        answer = server.post("models", files={"file": ("model.keras", content)}, data={"name": "hostile"})
        assert answer.status_code == 201, f"{name}: {answer.text}"
        return str(answer.json()["_id"])

    def loading() -> int:
        return len(server.get("models", params={"where": '{"state": "loading"}'}).json()["_items"])

    with Predicting(server, right) as client:
        with ThreadPoolExecutor(UPLOADS) as pool:
            ids = dict(zip(sent, pool.map(upload, sent), strict=True))
        until(lambda: not loading(), 560, "none is loading")
    assert client.count > 20
    assert not client.wrong, client.wrong[:3]
    with server.database() as database:
        documents = {str(one["_id"]): one for one in database["almanac"]["models"].find({"name": "hostile"})}
        uploads = {one["file"] for one in documents.values()}
        stored = {one["_id"] for one in database["almanac"]["files.files"].find()}
    wrong = {}
    for name, model in ids.items():
        document = documents[model]
        if document["state"] != "failed" or not re.search(CORPUS[name].reason, document["error"]):
            wrong[name] = (document["state"], document.get("error"))
    assert not wrong
    # What was uploaded stays until its version is retired; builds made nothing.
    assert stored == stored_before | uploads
    until(lambda: {process.pid for process in server.family()} == processes, 10, "no process of a build is left")
    until(lambda: not list((server.data / "cache" / "builds").iterdir()), 10, "nor a file of one")
    assert set(map(str, server.data.parent.parent.glob("*"))) == outside
    assert requests.get(f"{server.url}/health/ready", timeout=5).status_code == 200


def test_a_good_one_is_built_afterwards(server: Almanac) -> None:
    content = file(layer("Activation", "a", activation="relu"), layer("Flatten", "f"))
    model = server.post("models", files={"file": ("m.keras", content)}, data={"name": "good"}).json()["_id"]
    document = until(
        lambda: next((one for one in [server.get(f"models/{model}").json()] if one["state"] != "loading"), None), 120
    )
    assert document["state"] == "available", document.get("error")
    assert not [line for line in document["build"]["log"] if "the kernel here" in line]
