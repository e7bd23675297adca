"""Records that are too old go, by MongoDB's own hand; what is young or no record stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from ml.database.client import connect, database_of
from ml.database.embedded import EmbeddedMongo, process
from ml.erasure.retention import INDEX, RECORDS, Retention, keep_for, remove_unstamped
from tests.integration.rest import Client
from tests.waiting import until


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A database of its own that looks for what is too old every second, rather than every minute."""
    monkeypatch.setattr(process, "PARAMETERS", (*process.PARAMETERS, "ttlMonitorSleepSecs=1"))
    embedded = EmbeddedMongo(tmp_path / "quick")
    try:
        with connect(embedded.start()) as client:
            yield database_of(client)
    finally:
        embedded.stop()


def aged(days: float, **fields: Any) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(days=days)
    id_ = ObjectId(ObjectId.from_datetime(at).binary[:4] + ObjectId().binary[4:])
    return {"_id": id_, "_created": at, "_updated": at, "data": [1], **fields}


def test_what_is_older_goes_and_nothing_else(quick: Any) -> None:
    for name in RECORDS:
        quick[name].insert_many([aged(days, status="succeeded", resource="inputs") for days in (8, 6)])
    quick["audit"].insert_one(aged(100, resource="keys"))
    quick["jobs"].insert_one(aged(8, status="running"))
    quick["models"].insert_one(aged(100, name="old", version=1))
    quick["inputs"].insert_one({"_id": aged(9)["_id"], "data": [1], "tags": ["without stamps"]})
    quick["inputs"].insert_one({"_id": aged(5)["_id"], "data": [1], "tags": ["without stamps"]})
    retention = Retention(quick, 7)
    retention.start()
    left = {"inputs": 2, "results": 1, "deliveries": 1, "jobs": 2, "models": 1, "audit": 2}
    until(lambda: {name: quick[name].count_documents({}) for name in left} == left)
    retention.close()
    assert quick["jobs"].count_documents({"status": "running"}) == 1


def test_it_can_be_changed_and_unset(client: Client) -> None:
    db = database_of(client)

    def seconds() -> list[Any]:
        return [db[name].index_information().get(INDEX, {}).get("expireAfterSeconds") for name in RECORDS]

    keep_for(db, 30)
    keep_for(db, 30)
    assert seconds() == [30 * 86_400] * 5
    keep_for(db, 0.5)
    assert seconds() == [43_200] * 5
    keep_for(db, None)
    keep_for(db, None)
    assert seconds() == [None] * 5


def test_inputs_without_stamps_go_by_their_ids(client: Client) -> None:
    db = database_of(client)
    db["inputs"].insert_many([{"_id": aged(days)["_id"], "data": [1]} for days in (1, 2, 3, 4)])
    assert remove_unstamped(db, 2.5) == 2
    assert remove_unstamped(db, 2.5) == 0
