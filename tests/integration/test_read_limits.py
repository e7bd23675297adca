"""No read that a request waits for may keep the database busy for ever: each says how long it may take."""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent

from ml.database import client as database_client
from ml.database.client import READ_MS, connect
from tests.conftest import Api
from tests.integration.rest import NDJSON, ROW, URL, Client

READS = frozenset({"find", "aggregate", "count", "distinct"})


class Reads(CommandListener):
    """The reads of the thread that a test runs in, as a request is answered in it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int | None]] = []
        self._thread = threading.get_ident()

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in READS and threading.get_ident() == self._thread:
            command: Any = event.command
            # A subscription is waited for by nobody.
            if "$changeStream" not in next(iter(command.get("pipeline", [])), {}):
                collection = str(command[event.command_name])
                self.seen.append((event.command_name, collection, command.get("maxTimeMS")))

    def succeeded(self, event: Any) -> None:
        """Nothing is to be noted."""

    def failed(self, event: Any) -> None:
        """Nothing is to be noted."""


@pytest.fixture
def reads(mongod: str, client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Reads, Client]]:
    """What is read, and the client that is listened to."""
    reads = Reads()
    monkeypatch.setattr(database_client, "MongoClient", functools.partial(MongoClient, event_listeners=[reads]))
    with connect(mongod) as listened:
        yield reads, listened


def test_every_read_of_a_request_has_a_limit_of_time(
    reads: tuple[Reads, Client],
    make_api: Callable[..., Api],
    stub: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted, client = reads
    monkeypatch.setattr("ml.idempotency.answers.PART_BYTES", 100)  # so that answers are kept in parts
    stub(client, aliases={"stable": 1})
    api = make_api(client, rate_limit="100000/minute")
    noted.seen.clear()
    every = {"If-Match": "*"}
    ids = [item["_id"] for item in api.post("inputs", json=[{"data": ROW}, {"data": ROW}]).json["_items"]]
    keyed = {"Idempotency-Key": "k1"}
    answers = [
        *(api.post(URL, json={"instances": [ROW]}, headers=keyed) for _ in range(2)),
        api.post(URL, json={"instances": [ROW]}),
        api.post(URL, json={"inputs": ids}),
        api.post(URL, json={"inputs": ids}, headers={"Prefer": "respond-async"}),
        api.post(URL, json={"instances": [ROW]}, headers={"Prefer": "respond-async", "Idempotency-Key": "k2"}),
        api.post("inputs", json=[{"data": ROW}] * 2, headers=keyed),
    ]
    results = api.get("results").json["_items"]
    jobs = [
        api.post("jobs", json={"model": "sums", "inputs": ids}).json,
        api.post(
            "jobs", json={"model": "sums", "where": {"tags": "a"}, "webhook": {"url": "https://example.com/"}}
        ).json,
    ]
    model = api.get("models").json["_items"][0]["_id"]
    answers.append(file := api.post("/v1/files", data={"content": (io.BytesIO(b"x"), "x")}))
    urls = [*file.json["urls"].values(), "/v1/files", "/v1/models", "/v1/models/admin/sums/versions"]
    answers += [*map(api.get, urls), api.delete(file.json["urls"]["get"])]
    for resource in ("models", "inputs", "results", "jobs", "deliveries"):
        answers.append(api.get(f"{resource}?count=true&sort=-_created&where=%7B%22_id%22:%7B%22$exists%22:true%7D%7D"))
        answers.append(api.get(resource, headers=NDJSON))
        answers.append(api.head(resource))
    answers += [
        api.get("results?embedded=%7B%22input%22:1,%22job%22:1%7D"),
        api.get(f"results/{results[0]['_id']}?embedded=%7B%22input%22:1%7D"),
        api.get(f"inputs/{ids[0]}?projection=%7B%22tags%22:1%7D"),
        api.get(f"inputs/{ids[0]}/data"),
        api.patch(f"inputs/{ids[0]}", json={"tags": ["a"]}, headers=every),
        api.patch(f"results/{results[0]['_id']}", json={"truth": 1}, headers=every),
        api.patch(f"models/{model}", json={"description": "d"}, headers=every),
        api.patch(f"models/{model}", json={"aliases": ["stable", "next"]}, headers=every),
        api.patch(f"jobs/{jobs[0]['_id']}", json={"status": "canceled"}, headers=every),
        api.get(f"jobs/{jobs[0]['_id']}", headers={"Prefer": "wait=1"}),
        api.get(f"jobs/{jobs[0]['_id']}/events", headers={"Last-Event-ID": "x"}),
        api.delete(f"jobs/{jobs[0]['_id']}", headers=every),
        api.delete(f"results/{results[0]['_id']}", headers=every),
        api.delete(f"inputs/{ids[1]}", headers=every),
        api.delete(f"models/{model}", headers=every),
        api.get("webhooks/secret"),
        api.post("webhooks/secret"),
        api.get("webhooks/secret"),
        api.get("/metrics"),
        api.as_caller(None).get("/health/ready"),
    ]
    assert {answer.status_code for answer in answers} <= {200, 201, 202, 204, 503}
    read = {(name, collection) for name, collection, _ in noted.seen}
    assert read >= {
        ("find", name) for name in ("models", "inputs", "results", "jobs", "deliveries", "registry", "uploads.files")
    }
    assert ("aggregate", "inputs") in read  # it counts
    without = {(name, collection) for name, collection, limit in noted.seen if not limit or limit > READ_MS}
    assert not without
