"""Jobs take smaller bites while predictions are stored, by whatever process."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ml import traffic
from ml.database.client import database_of
from ml.jobs import memory
from ml.jobs.memory import Memory
from ml.traffic import COLLECTION, Traffic
from tests.conftest import Api
from tests.integration.rest import ROW, URL, Client
from tests.waiting import until


@pytest.fixture
def other(client: Client, monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """What another process asks, each time anew."""
    monkeypatch.setattr(traffic, "LOOK_SECONDS", 0.0)
    return Traffic(database_of(client))


def test_a_stored_prediction_is_seen_and_forgotten(api: Api, client: Client, serve: Any, other: Traffic) -> None:
    serve()
    assert not other.is_there()
    assert api.post(URL, json={"instances": [ROW], "store": "none"}).status_code == 200
    assert not other.is_there()
    assert api.post(URL, json={"instances": [ROW]}).status_code == 200
    until(other.is_there)
    database_of(client)[COLLECTION].update_many({}, {"$set": {"at": datetime(2020, 1, 1, tzinfo=UTC)}})
    assert not other.is_there()


def test_chunks_are_small_meanwhile(client: Client, other: Traffic) -> None:
    large = Memory(other)
    for _ in range(10):
        large.took(large.size(), 0.0, 100)
    assert large.size() > memory.BESIDE_ROWS
    other.note()
    until(lambda: large.size() == memory.BESIDE_ROWS)
    database_of(client)[COLLECTION].delete_many({})
    other.close()
    assert large.size() > memory.BESIDE_ROWS
