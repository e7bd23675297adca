"""The overview: what it counts, whose, and how little of the database it reads for that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import ExecutionTimeout

from api.console import minutes
from api.console.charts import chart_of, round_up
from api.console.minutes import Minutes
from api.console.now import overview_of, percentile
from api.console.recent import newest_jobs, newest_results, parts_of
from ml.database.client import database_of
from ml.database.documents import stamp_new
from ml.database.indexes import prepare
from ml.identity.caller import ADMIN, Caller
from ml.service import Service
from tests.conftest import Api
from tests.integration.console.browser import Visitor
from tests.integration.rest import Client

ALICE = Caller("alice", "user")
AT = datetime(2026, 11, 21, 12, 30, 10, tzinfo=UTC)


@pytest.fixture
def db(client: Client) -> Any:
    return database_of(client)


@pytest.fixture
def fresh_indexes(db: Any) -> None:
    """As they are where no other program ever stored a list in them, which MongoDB remembers."""
    for name in ("results", "jobs"):
        db[name].drop_indexes()
    prepare(db)


def results(db: Any, owner: str, ages: list[float], at: datetime = AT, **fields: Any) -> None:
    """Store results of these ages, in seconds."""
    common = {"model": "sums", "version": 1, "status": "succeeded", **fields}
    db["results"].insert_many(
        [stamp_new({"_id": ObjectId(), **common}, owner, at - timedelta(seconds=age)) for age in ages]
    )


def part(owner: str) -> Any:
    return ({"owner": owner}, "owner_created")


def stages(plan: dict[str, Any]) -> Iterator[str]:
    yield plan["stage"]
    for below in [*filter(None, [plan.get("inputStage")]), *plan.get("inputStages", ())]:
        yield from stages(below)


def test_minutes_are_counted_for_each_owner(db: Any) -> None:
    results(db, "alice", [1, 2, 130, 3530, 3700])
    results(db, "bob", [5])
    found = Minutes(db).counts([part("alice")], AT)
    assert (len(found), found[59], found[58], found[57], found[0], sum(filter(None, found))) == (60, 2, 0, 1, 1, 4)
    assert Minutes(db).counts([part("alice"), part("bob")], AT)[59] == 3
    assert Minutes(db).counts([], AT) == [0] * 60


def test_a_minute_that_is_over_is_counted_once(db: Any) -> None:
    results(db, "alice", [1, 25, 100])
    counted = Minutes(db)
    before = counted.counts([part("alice")], AT)
    results(db, "alice", [1, 25, 100])
    # The one before is kept open for a while: what was stamped in it may be stored now.
    assert counted.counts([part("alice")], AT)[57:] == [1, 2, 2] != before[57:] == [1, 1, 1]
    later = counted.counts([part("alice")], AT + timedelta(minutes=1))
    assert later[56:] == [1, 2, 2, 0]


def test_what_there_is_no_time_for_is_left_to_the_next(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minutes, "MOST_AT_ONCE", 4)
    results(db, "alice", [1, 2, 61, 62, 121, 122, 180, 3530])
    counted = Minutes(db)
    found = counted.counts([part("alice")], AT, budget=0)
    assert found[58:] == [None, 2], "the oldest that was read may be read in part"
    assert found.count(None) == 59
    found = counted.counts([part("alice")], AT, budget=30)
    assert (None in found, found[56:], found[0]) == (False, [1, 2, 2, 2], 1)


def test_a_minute_is_counted_up_to_a_limit(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minutes, "MOST_AT_ONCE", 4)
    monkeypatch.setattr(minutes, "MOST", 5)
    results(db, "alice", [1.0] * 9)
    assert Minutes(db).counts([part("alice")], AT)[59] == 5


@pytest.mark.usefixtures("fresh_indexes")
@pytest.mark.parametrize("caller", [ALICE, ADMIN])
def test_newest_results_and_jobs_are_read_in_the_order_of_an_index(
    db: Any, service: Service, serve: Callable[..., Any], caller: Caller
) -> None:
    for version in range(1, 31):
        db["models"].insert_one({"name": "sums", "version": version})
        results(db, f"owner-{version}", [version * 10.0 + n / 100 for n in range(30)], version=version)
    results(db, "alice", [n / 100 for n in range(100)])
    read = newest_results(service, parts_of(service, caller), 50, {"timing": True})
    plan = read.explain()
    assert plan["executionStats"]["totalDocsExamined"] == 50
    assert plan["executionStats"]["totalKeysExamined"] <= 50 + 60
    assert "SORT" not in set(stages(plan["queryPlanner"]["winningPlan"]))
    db["jobs"].insert_many([stamp_new({"status": "queued"}, f"owner-{n % 7}") for n in range(200)])
    db["jobs"].insert_many([stamp_new({"status": "queued"}, "alice") for n in range(100)])
    plan = newest_jobs(service, caller, 20).explain()
    assert plan["executionStats"]["totalDocsExamined"] == 20
    assert "SORT" not in set(stages(plan["queryPlanner"]["winningPlan"]))


@pytest.mark.usefixtures("fresh_indexes")
def test_counts_read_the_index_alone(db: Any) -> None:
    results(db, "alice", [1.0] * 30)
    where = {"owner": "alice", "_created": {"$gte": AT - timedelta(minutes=1), "$lt": AT}}
    plan = db.command("explain", {"count": "results", "query": where, "hint": "owner_created", "limit": 10})
    assert list(stages(plan["queryPlanner"]["winningPlan"])) == ["COUNT", "COUNT_SCAN"]
    assert plan["executionStats"]["totalDocsExamined"] == 0


def test_an_owner_sees_nothing_of_others(
    db: Any, serve: Callable[..., Any], admin: Api, person: Callable[..., Visitor], visitor: Visitor
) -> None:
    serve()
    error = {"code": "execution", "message": "told to bob alone"}
    present = datetime.now(UTC)
    results(db, "bob", [1.0] * 7, present, timing={"queue_ms": 1.0, "compute_ms": 2.5})
    results(db, "bob", [1.0], present, status="failed", error=error)
    job = {"status": "failed", "model": "sums", "error": "a job of bob's", "priority": 5}
    db["jobs"].insert_many([stamp_new(dict(job), "bob"), stamp_new({**job, "status": "running"}, "bob")])
    with admin.http.application.app_context():
        for caller, seen in ((ALICE, 0), (Caller("bob", "reader"), 8), (ADMIN, 8)):
            found = overview_of(caller)
            assert (sum(filter(None, found.minutes)), found.results) == (seen, seen)
            assert (found.of, found.p50, found.p95) == ((7, 3.5, 3.5) if seen else (0, None, None))
            assert found.jobs == {"queued": 0, "running": 1 if seen else 0, "paused": 0}
            assert {one.why for one in found.troubles} == ({"told to bob alone", "a job of bob's"} if seen else set())
            assert found.waiting == (0 if caller is ADMIN else None)
    alice, bob = person(owner="alice").page("/"), person("reader", "bob").page("/")
    assert "bob" not in alice.source
    assert "Nothing was predicted yet" in alice.text
    assert "told to bob alone" in bob.text
    assert "Try it" not in [words for words, _ in bob.links]
    assert "8 predictions in the last hour" in visitor.page("/").text


def test_an_empty_server_says_what_to_do(visitor: Visitor, person: Callable[..., Visitor]) -> None:
    page = visitor.page("/")
    assert "python run.py demo" in page.text
    assert page.link("Upload a .keras file") == "/console/models#upload"
    assert "Ask an editor" in person("reader").page("/").text
    assert "Overview" in [words for words, _ in page.links]


def test_a_latency_is_that_of_predictions_or_none_at_all(
    db: Any, serve: Callable[..., Any], visitor: Visitor, person: Callable[..., Visitor]
) -> None:
    serve()
    timing = {"queue_ms": 1.0, "compute_ms": 2.5, "batch": 100}
    results(db, "alice", [3.0, 2.0, 1.0], datetime.now(UTC), job=ObjectId(), timing=timing)
    page = visitor.page("/")
    assert "none of the latest 3 results is one, as a job's are not" in page.text
    assert page.link("try a model") == "/console/try"
    assert "at most this" not in page.text
    assert "try a model" not in [words for words, _ in person("reader", "alice").page("/").links]
    results(db, "alice", [1.0], datetime.now(UTC), timing=timing)
    assert "the latest prediction that somebody waited for took this" in visitor.page("/").text
    results(db, "alice", [1.0], datetime.now(UTC), timing=timing)
    assert "half of the latest 2 predictions that somebody waited for" in visitor.page("/").text


def test_programs_are_led_to_the_api(admin: Api) -> None:
    answer = admin.get("/")
    assert (answer.status_code, answer.location) == (303, "/api/v1/")


def test_figures() -> None:
    assert [round_up(value) for value in (0, 2, 3, 9, 10, 11, 99, 413)] == [2, 2, 4, 10, 10, 20, 100, 600]
    assert percentile([], 0.5) is None
    assert [percentile(list(range(100)), share) for share in (0.5, 0.95, 1)] == [50, 95, 99]
    chart = chart_of("t", "u", "b", [0, 1, None, 4], ["a", "b", "c", "d"], [(3, "now")], "s")
    assert [(one.title, one.unknown) for one in chart.columns] == [("b", False), ("c", True), ("d", False)]
    assert [one.words for one in chart.y_ticks] == ["0", "2", "4"]
    assert chart.columns[2].height == chart.height


def test_a_count_that_takes_too_long_is_given_up(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def __getitem__(self, name: str) -> Any:
            return db[name]

        def command(self, *_: Any, **__: Any) -> Any:
            raise ExecutionTimeout("operation exceeded time limit")

    monkeypatch.setattr(minutes, "MOST_AT_ONCE", 4)
    results(db, "alice", [1.0, 2.0, 61.0, 62.0, 121.0])
    slow: Any = Slow()
    assert Minutes(slow).counts([part("alice")], AT)[57:] == [None, None, 2]
