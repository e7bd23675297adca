"""Many jobs and few workers: who goes first, who waits for how long, and what one that waits costs the others."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import OperationFailure

from ml.database.transactions import transact
from ml.jobs import memory, rows, scorer, states
from ml.jobs.scoring import result_ids
from ml.service import Service
from tests.integration.jobs import (
    at_chunk,
    claim,
    done,
    expire_lease,
    insert_rows,
    lose_the_database,
    reload,
    submit,
    wish,
    work,
    working,
)
from tests.waiting import until

Stub = Callable[..., Any]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "FIRST_ROWS", 100)
    monkeypatch.setattr(rows, "CHUNK_ROWS", 100)


@pytest.fixture
def turns(client: Any, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> list[ObjectId]:
    """The job of every chunk that was scored, in order. A turn lasts for one chunk."""
    stub(client)
    taken: list[ObjectId] = []
    real = scorer.score

    def score(live: Any, chunk: Any, job: Any) -> Any:
        taken.append(job["_id"])
        return real(live, chunk, job)

    monkeypatch.setattr(scorer, "score", score)
    monkeypatch.setattr(scorer, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(memory, "CHUNK_SECONDS", 60.0)  # none is made smaller where this machine is slow
    return taken


def waited(service: Service, job: dict[str, Any], seconds: float) -> None:
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    service.db["jobs"].update_one({"_id": job["_id"]}, {"$set": {"since": since}})


def test_jobs_of_one_priority_take_turns(service: Service, turns: list[ObjectId]) -> None:
    insert_rows(service, 500)
    jobs = [submit(service) for _ in range(3)]
    work(service)
    names = {job["_id"]: name for job, name in zip(jobs, "abc", strict=True)}
    assert "".join(names[job] for job in turns) == "abc" * 5
    for job in jobs:
        ended = reload(service, job)
        assert (ended["status"], ended["progress"]["done"], ended["attempts"]) == ("succeeded", 500, 0)
        assert done(service, job) == 500


def test_the_more_urgent_job_goes_first_and_ends_first(service: Service, turns: list[ObjectId]) -> None:
    insert_rows(service, 500)
    low, high = submit(service, priority=5), submit(service, priority=9)
    work(service)
    assert turns == [high["_id"]] * 5 + [low["_id"]] * 5


def test_one_that_has_waited_for_long_goes_before_a_more_urgent_one(service: Service, turns: list[ObjectId]) -> None:
    low, high = submit(service, priority=5), submit(service, priority=9)
    waited(service, low, 10)
    assert claim(service)["_id"] == high["_id"]
    other = submit(service, priority=9)
    waited(service, low, 20)
    assert claim(service)["_id"] == low["_id"]
    assert claim(service)["_id"] == other["_id"]


def test_a_turn_goes_on_where_nobody_waits(service: Service, turns: list[ObjectId]) -> None:
    insert_rows(service, 500)
    job = submit(service)
    assert work(service) == 1
    assert reload(service, job)["fence"] == 1
    assert turns == [job["_id"]] * 5


def test_the_last_pass_goes_on_where_a_turn_ended(service: Service, turns: list[ObjectId]) -> None:
    ids = insert_rows(service, 500)
    jobs = [submit(service) for _ in range(2)]
    for job in jobs:  # both have passed all rows, and have seen none
        service.db["jobs"].update_one({"_id": job["_id"]}, {"$set": {"phase": "sweep", "checkpoint": ids[99]}})
    work(service)
    assert len(turns) == 8
    assert [done(service, job) for job in jobs] == [400, 400]


def test_a_change_of_priority_shows_at_the_next_turn(service: Service, turns: list[ObjectId]) -> None:
    insert_rows(service, 500)
    first, second = submit(service), submit(service)
    service.jobs.update(reload(service, second), {"priority": 9})
    work(service)
    assert turns == [second["_id"]] * 5 + [first["_id"]] * 5


def test_a_job_whose_model_is_being_built_holds_nobody_up(service: Service, client: Any, stub: Stub) -> None:
    stub(client)
    stub(client, name="later", state="loading")
    insert_rows(service, 100)
    waits, quick = submit(service, model="later", priority=9), submit(service)
    with working(service):
        until(lambda: reload(service, quick)["status"] == "succeeded")
        assert reload(service, waits)["status"] == "running"
        service.db["models"].update_one({"name": "later"}, {"$set": {"state": "available"}})
        until(lambda: reload(service, waits)["status"] == "succeeded")
    assert reload(service, waits)["attempts"] == 0


def test_a_limit_of_rows_a_second_holds_and_can_be_changed(service: Service, client: Any, stub: Stub) -> None:
    stub(client)
    insert_rows(service, 400)
    job = submit(service, max_rows_per_second=100)
    began = time.monotonic()
    seen: list[tuple[float, int]] = []

    def look(rows: int) -> bool:
        count = done(service, job)
        seen.append((time.monotonic() - began, count))
        return count >= rows

    with working(service):
        until(lambda: look(150))
        # What was there at the start is a chunk of a fifth of a second, and a second's rows may be caught up.
        assert all(count <= 100 * (at + 1) + 20 for at, count in seen)
        assert seen[-1][0] >= 1, "150 rows in less than a second"
        wish(service, job, max_rows_per_second=None)
        changed = time.monotonic()
        until(lambda: reload(service, job)["status"] == "succeeded")
    assert time.monotonic() - changed < 2, "at the old pace the other 250 rows take 2.5 s"
    assert done(service, job) == 400


def test_a_job_with_a_limit_leaves_the_worker_to_others(service: Service, client: Any, stub: Stub) -> None:
    stub(client)
    insert_rows(service, 300)
    slow, quick = submit(service, max_rows_per_second=1, priority=9), submit(service)
    with working(service):
        until(lambda: reload(service, quick)["status"] == "succeeded")
        assert reload(service, slow)["status"] == "running"
        assert 1 <= done(service, slow) < 20
        wish(service, slow, status="canceled")
    assert reload(service, slow)["status"] == "canceled"


def test_what_a_dead_worker_left_open_does_not_hold_the_next_one_up(service: Service, client: Any, stub: Stub) -> None:
    stub(client)
    (id_,) = insert_rows(service, 1)
    job = submit(service)
    with client.start_session() as session:
        dead = states.claim(service.db["jobs"], "dead", 15, [session.session_id])
        assert dead is not None
        session.start_transaction()
        service.db["results"].insert_one(
            {"_id": ObjectId(result_ids(job["_id"])(id_)), "by": "the dead"}, session=session
        )
        expire_lease(service, job)
        began = time.monotonic()
        work(service)
        assert time.monotonic() - began < 5, "transactions run out after 20 s"
        ended = reload(service, job)
        assert (ended["status"], ended["attempts"]) == ("succeeded", 0)
        assert service.db["results"].count_documents({"by": "the dead"}) == 0
        # And a worker that was only stopped finds it gone, and can use its session again.
        with pytest.raises(OperationFailure):
            session.commit_transaction()
        transact(client, lambda session: service.db["meta"].find_one({"_id": "shape"}, session=session), session)


def test_what_a_dead_worker_left_open_does_not_hold_a_client_up(service: Service, client: Any, stub: Stub) -> None:
    stub(client)
    job = submit(service)
    with client.start_session() as session:
        dead = states.claim(service.db["jobs"], "dead", 15, [session.session_id])
        assert dead is not None
        session.start_transaction()
        assert states.advance(service.db["jobs"], dead, {}, {"done": 1}, session) is not None
        began = time.monotonic()
        assert wish(service, job, status="canceled")["status"] == "canceled"
        assert time.monotonic() - began < 5, "transactions run out after 20 s"
        with pytest.raises(OperationFailure):
            session.commit_transaction()
    assert reload(service, job)["progress"]["done"] == 0


def test_a_job_is_let_go_of_when_the_database_is_back(
    service: Service, client: Any, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(client)
    insert_rows(service, 300)
    job = submit(service)
    calls = at_chunk(monkeypatch, 2, lose_the_database)
    with working(service):  # with a lease of 15 s, which is not waited for
        until(lambda: reload(service, job)["status"] == "succeeded", 5)
    ended = reload(service, job)
    assert (ended["attempts"], ended["progress"]["done"]) == (0, 300)
    assert sum(calls) <= 300 + 3 * 100


def test_how_many_rows_a_job_has_is_told_while_it_runs(service: Service, client: Any, stub: Stub) -> None:
    stub(client)
    insert_rows(service, 300)
    job = submit(service, max_rows_per_second=50)
    with working(service):
        until(lambda: reload(service, job)["progress"]["total"] == 300)
        assert reload(service, job)["progress"]["done"] < 300


def test_a_webhook_is_told_of_progress_as_of_start_and_end(
    service: Service, client: Any, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(client)
    monkeypatch.setattr(memory, "TELL_SECONDS", 0.0)
    insert_rows(service, 300)
    job = submit(service, webhook={"url": "https://example.com/"})
    work(service)
    notes = reload(service, job)["outbox"]
    assert [note["event"] for note in notes] == ["started", "progress", "succeeded"]
    assert [note["n"] for note in notes] == [1, 2, 3]
    assert 0 < notes[1]["progress"]["done"] <= 300
