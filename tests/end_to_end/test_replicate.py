"""Replicate's predictions at a real Almanac that is killed, its MongoDB and its worker with it, and started again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from replicate.client import Client as Replicate

from ml.database.client import database_of
from tests.conftest import add_stub
from tests.end_to_end.almanac import Almanac, free_port
from tests.waiting import until

ASKED = {"version": "sums", "input": {"x": [1, 2, 3]}}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Almanac]]:
    """Starts an Almanac, each on the data directory and at the port of the one before."""
    port, started = free_port(), []

    def make() -> Almanac:
        started.append(Almanac(tmp_path / "data", port, ALMANAC_LEASE_SECONDS="1", ALMANAC_LOG_LEVEL="warning"))
        started[-1].wait_for("^Almanac serves at")
        return started[-1]

    yield make
    for almanac in started:
        if almanac.process.poll() is None:
            almanac.kill_all()


def test_what_was_created_outlives_a_kill_of_everything(start: Callable[[], Almanac], tmp_path: Path) -> None:
    first = start()
    with first.database() as client:
        add_stub(client, tmp_path, seconds_per_row=1.0)
    replicate = Replicate(api_token=first.headers["Authorization"].removeprefix("Bearer "), base_url=first.url)
    replicate.poll_interval = 0.1
    prediction = replicate.predictions.create(**ASKED)

    def put(almanac: Almanac, **headers: str) -> Any:
        url, sent = f"{almanac.url}/v1/predictions/order-17", {**almanac.headers, **headers}
        return requests.put(url, json=ASKED, headers=sent, timeout=60)

    def reloaded() -> str:
        prediction.reload()
        return str(prediction.status)

    assert put(first).status_code == 201
    late = replicate._request("POST", "/v1/predictions", json=ASKED, headers={"Cancel-After": "1s"}).json()
    until(lambda: reloaded() == "processing")
    first.kill_all()

    second = start()
    prediction.wait()
    assert (prediction.status, prediction.output) == ("succeeded", [6, 7])
    done = put(second, Prefer="wait")
    assert (done.status_code, done.json()["status"], done.json()["output"]) == (200, "succeeded", [6, 7])
    assert put(second).json() == done.json()
    # A word that this client does not know.
    assert until(lambda: replicate._request("GET", late["urls"]["get"]).json()["completed_at"])
    assert replicate._request("GET", late["urls"]["get"]).json()["status"] == "aborted"
    with second.database() as client:
        found = list(database_of(client)["results"].find())
        assert sorted(str(result["job"]) for result in found).count(prediction.id) == 1
        assert len(found) == database_of(client)["jobs"].count_documents({}) - 1 == 2
