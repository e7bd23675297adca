"""What is added up from stored results: in pieces, once, and by whom they may be seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ml import statistics
from ml.database.client import database_of
from ml.errors import Overloaded
from ml.statistics import Statistics, Sums
from tests.integration.rest import Client

VERSION = ("sums", 1)


def result(seconds_ago: float, owner: str = "eve", batch: Any = 2, status: str = "succeeded") -> dict[str, Any]:
    created = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    created = created.replace(microsecond=created.microsecond // 1000 * 1000)
    timing = {"queue_ms": 1.0, "compute_ms": 4.0, "batch": batch}
    return {"model": "sums", "version": 1, "owner": owner, "status": status, "timing": timing, "_created": created}


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "CHUNK", 3)


def test_old_results_are_added_up_once_and_new_ones_each_time(client: Client) -> None:
    results = database_of(client)["results"]
    old = [result(1000 - number) for number in range(8)]
    same = result(500)
    results.insert_many(
        [*old, *({**same} for _ in range(6)), result(0.5, status="failed"), {**result(9), "version": 2}]
    )
    counted = Statistics(database_of(client))
    totals = counted.of(VERSION, {})
    assert totals.by_batch == {2: Sums(15, 1, 15.0, 60.0)}
    assert totals.last == results.find_one({"status": "failed"})["_created"]  # type: ignore[index]
    results.insert_one(result(0.1, batch=1))
    results.delete_many({"_created": {"$lt": same["_created"]}})
    assert counted.of(VERSION, {}).by_batch == {2: Sums(15, 1, 15.0, 60.0), 1: Sums(1, 0, 1.0, 4.0)}
    assert Statistics(database_of(client)).of(VERSION, {}).by_batch[2].rows == 7
    assert counted.of(("sums", 7), {}).by_batch == {}


def test_each_scope_has_its_own(client: Client) -> None:
    database_of(client)["results"].insert_many([result(99), result(98, "adam"), result(1, "adam")])
    counted = Statistics(database_of(client))
    rows = [counted.of(VERSION, scope).by_batch[2].rows for scope in ({}, {"owner": "eve"}, {"owner": "adam"})]
    assert rows == [3, 1, 2]


def test_what_other_programs_stored_counts_as_far_as_it_can(client: Client) -> None:
    odd = [{**result(99), "timing": {"batch": "many"}}, {**result(98), "timing": None}, result(97, batch=-1)]
    database_of(client)["results"].insert_many(odd)
    assert Statistics(database_of(client)).of(VERSION, {}).by_batch == {0: Sums(3, 0, 1.0, 4.0)}


def test_what_takes_too_long_is_gone_on_with_by_the_next(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    database_of(client)["results"].insert_many([result(1000 - number) for number in range(9)])
    counted = Statistics(database_of(client))
    monkeypatch.setattr(statistics, "PATIENCE", -1.0)
    with pytest.raises(Overloaded, match="the results of sums:1 are still being added up"):
        counted.of(VERSION, {})
    now = [0.0]

    def clock() -> float:
        now[0] += 1
        return now[0]

    monkeypatch.setattr(statistics, "PATIENCE", 1.5)
    monkeypatch.setattr(statistics.time, "monotonic", clock)
    for _ in range(2):
        with pytest.raises(Overloaded):
            counted.of(VERSION, {})
    monkeypatch.setattr(statistics, "PATIENCE", 1000)
    assert counted.of(VERSION, {}).by_batch[2].rows == 9
