"""Those who wait for jobs at a real server: events as they happen, clients that go away, and a stop in between."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from ml.database.client import database_of
from ml.jobs import states
from tests.conftest import ADMIN_KEY
from tests.end_to_end.almanac import Almanac, free_port
from tests.waiting import until

HEADERS = {"Authorization": f"Bearer {ADMIN_KEY}"}


@pytest.fixture
def almanac(client: Any, mongod: str, stub: Callable[..., Any], tmp_path: Path) -> Iterator[Almanac]:
    """A replica with one model and few threads: four may wait."""
    stub(client)
    settings = {"ALMANAC_MONGO_URI": mongod, "ALMANAC_ADMIN_KEY": ADMIN_KEY, "ALMANAC_LOG_LEVEL": "warning"}
    made = Almanac(tmp_path / "data", free_port(), "--no-jobs", ALMANAC_THREADS="16", **settings)
    made.wait_for("^Almanac serves at", 60)
    yield made
    if made.process.poll() is None:
        made.stop()


def submit(almanac: Almanac) -> str:
    job = requests.post(f"{almanac.url}/api/v1/jobs", headers=HEADERS, json={"model": "sums"}, timeout=10)
    id_: str = job.json()["_id"]
    return id_


def stream(almanac: Almanac, job: str) -> requests.Response:
    return requests.get(f"{almanac.url}/api/v1/jobs/{job}/events", headers=HEADERS, stream=True, timeout=30)


def events(answer: requests.Response) -> Iterator[tuple[str, Any]]:
    kind = ""
    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


def test_events_arrive_one_by_one_and_clients_that_went_away_are_noticed(almanac: Almanac, client: Any) -> None:
    job, jobs = submit(almanac), database_of(client)["jobs"]
    gone = [stream(almanac, job) for _ in range(4)]
    assert [answer.status_code for answer in gone] == [200] * 4
    assert stream(almanac, job).status_code == 503
    for answer in gone:
        assert next(events(answer))[0] == "progress"
        answer.close()
    claimed = states.claim(jobs, "w")  # so there is something to be sent
    assert claimed is not None
    taken: list[requests.Response] = []

    def accepted() -> bool:
        taken.append(stream(almanac, job))
        return taken[-1].status_code == 200

    until(accepted, 10, "their places are free")
    seen = events(taken[-1])
    assert next(seen)[1]["status"] == "running"
    states.advance(jobs, claimed, {}, {"done": 7})
    assert next(seen)[1]["progress"]["done"] == 7
    states.succeed(jobs, claimed, {})
    kind, data = next(seen)
    assert (kind, data["status"]) == ("ended", "succeeded")
    assert next(seen, None) is None


def test_a_stop_ends_streams_and_waits_at_once_and_in_order(almanac: Almanac) -> None:
    job = submit(almanac)
    url, waits = f"{almanac.url}/api/v1/jobs/{job}", []
    waiting = threading.Thread(
        target=lambda: waits.append(requests.get(url, headers={**HEADERS, "Prefer": "wait=60"}, timeout=60))
    )
    waiting.start()
    open_ones = [events(stream(almanac, job)) for _ in range(3)]
    assert [next(seen)[0] for seen in open_ones] == ["progress"] * 3
    until(lambda: stream(almanac, job).status_code == 503, 10, "the other waits too")
    began = time.monotonic()
    assert almanac.stop() == 0, almanac.output
    assert time.monotonic() - began < 5
    waiting.join(10)
    assert (waits[0].status_code, waits[0].json()["status"]) == (200, "queued")
    assert [next(seen, None) for seen in open_ones] == [None] * 3


def test_of_a_prediction_for_later_that_is_cut_short_nothing_is_stored(almanac: Almanac, client: Any) -> None:
    db, url = database_of(client), f"{almanac.url}/api/v1/models/sums/predict"
    headers, told = {**HEADERS, "Prefer": "respond-async"}, []

    def ask() -> None:
        with suppress(requests.RequestException):
            told.append(requests.post(url, json={"instances": [[1, 2, 3]] * 40_000}, headers=headers, timeout=30))

    asking = threading.Thread(target=ask)
    asking.start()
    session = until(lambda: in_a_transaction(client), 20, "its rows are being written")
    almanac.kill_all()
    asking.join(20)
    client.admin.command({"killSessions": [{"id": session["id"]}]})  # else it keeps its locks for a minute
    assert not told
    assert (db["inputs"].count_documents({}), db["jobs"].count_documents({})) == (0, 0)


def in_a_transaction(client: Any) -> Any:
    """The session that has a transaction open, if one has."""
    own = [{"$currentOp": {"idleSessions": True}}, {"$match": {"transaction.parameters.autocommit": False}}]
    return next((operation["lsid"] for operation in client.admin.aggregate(own)), None)
