"""Jobs that follow: what is there, then what arrives, each row once, whatever happens to worker and log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId
from pymongo.collection import Collection

from ml.jobs import arrivals, states
from ml.service import Service
from tests.integration.jobs import done, expire_lease, insert_rows, reload, results, submit, wish, working
from tests.waiting import until

Stub = Callable[..., Any]


@pytest.fixture
def model(client: Any, stub: Stub) -> None:
    stub(client)


def follows(service: Service, job: dict[str, Any]) -> bool:
    found = reload(service, job)
    return bool(found["status"] == "running" and found["phase"] == "tail")


def follow(service: Service, **fields: Any) -> dict[str, Any]:
    return submit(service, follow=True, **fields)


@pytest.mark.usefixtures("model")
def test_what_is_there_and_what_arrives_is_scored_until_it_is_canceled(service: Service) -> None:
    there = insert_rows(service, 10)
    job = follow(service, where={"tags": {"$ne": "other"}})
    with working(service):
        until(lambda: follows(service, job))
        assert done(service, job) == 10
        arrived = insert_rows(service, 50)
        insert_rows(service, 5, tags=["other"])
        insert_rows(service, 5, source="predict")
        one = insert_rows(service, 1)
        until(lambda: done(service, job) == 61)
        assert {result["input"] for result in results(service, job)} == {*there, *arrived, *one}
        progress = reload(service, job)["progress"]
        assert (progress["done"], progress["failed"]) == (61, 0)
        wish(service, job, status="canceled")
        insert_rows(service, 5)
        other = follow(service)
        until(lambda: done(service, other) > 70)  # so the worker has seen them
        assert done(service, job) == 61
        assert reload(service, job)["status"] == "canceled"


@pytest.mark.usefixtures("model")
def test_a_job_that_names_the_source_gets_what_predict_stored(service: Service) -> None:
    job = follow(service, where={"source": "predict"})
    plain = follow(service)
    with working(service):
        until(lambda: follows(service, job) and follows(service, plain))
        insert_rows(service, 3, source="predict")
        insert_rows(service, 2)
        until(lambda: done(service, job) == 3 and done(service, plain) == 2)


@pytest.mark.usefixtures("model")
def test_an_input_that_comes_to_match_is_scored(service: Service) -> None:
    (id_,) = insert_rows(service, 1)
    job = follow(service, where={"tags": "ready"})
    with working(service):
        until(lambda: follows(service, job))
        service.db["inputs"].update_one({"_id": id_}, {"$set": {"tags": ["ready"]}})
        until(lambda: done(service, job) == 1)
        service.db["inputs"].update_one({"_id": id_}, {"$set": {"meta": {"n": 1}}})
        insert_rows(service, 1, tags=["ready"])
        until(lambda: done(service, job) == 2)
    assert reload(service, job)["progress"]["done"] == 2


@pytest.mark.usefixtures("model")
def test_nothing_is_missed_between_two_workers(service: Service) -> None:
    job = follow(service)
    with working(service):
        until(lambda: follows(service, job))
        insert_rows(service, 5)
        until(lambda: done(service, job) == 5)
    assert reload(service, job)["status"] == "queued"
    insert_rows(service, 7)
    with working(service):
        until(lambda: done(service, job) == 12)
        insert_rows(service, 1)
        until(lambda: done(service, job) == 13)
    assert reload(service, job)["progress"]["done"] == 13


@pytest.mark.usefixtures("model")
def test_nothing_is_missed_where_a_worker_died_or_the_job_was_paused(service: Service) -> None:
    job = follow(service)
    with working(service):
        until(lambda: follows(service, job))
        wish(service, job, status="paused")
        insert_rows(service, 4)
        wish(service, job, status="queued")
        until(lambda: done(service, job) == 4)
        # As if another had held it and died.
        service.db["jobs"].update_one({"_id": job["_id"]}, {"$inc": {"fence": 1}})
        expire_lease(service, job)
        insert_rows(service, 4)
        until(lambda: done(service, job) == 8)
    assert reload(service, job)["progress"]["done"] == 8


@pytest.mark.usefixtures("model")
def test_a_place_off_the_log_means_the_inputs_again(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    job = follow(service)
    with working(service):
        until(lambda: follows(service, job))
        insert_rows(service, 5)
        until(lambda: done(service, job) == 5)
    insert_rows(service, 5)
    token = reload(service, job)["arrived"]
    # A time in 2001: the server answers that its log does not reach back so far.
    old = {"_data": token["_data"][:2] + "3b9aca00" + token["_data"][10:]}
    service.db["jobs"].update_one({"_id": job["_id"]}, {"$set": {"arrived": old}})
    with working(service):
        until(lambda: done(service, job) == 10)
        until(lambda: follows(service, job))
        insert_rows(service, 5)
        until(lambda: done(service, job) == 15)
    assert "looked through again" in caplog.text
    assert reload(service, job)["progress"]["done"] == 15


@pytest.mark.usefixtures("model")
def test_one_that_falls_behind_looks_through_the_inputs(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "MOST_KEPT", 20)
    quick, slow = follow(service), follow(service, max_rows_per_second=20)
    with working(service):
        until(lambda: follows(service, quick) and follows(service, slow))
        insert_rows(service, 60)
        until(lambda: done(service, quick) == done(service, slow) == 60)
    assert reload(service, slow)["progress"]["done"] == 60


@pytest.mark.usefixtures("model")
def test_all_jobs_of_a_worker_share_one_stream(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    streams: list[Any] = []
    real = Collection.watch

    def watch(self: Any, *args: Any, **kwargs: Any) -> Any:
        if "resume_after" in kwargs:
            streams.append(real(self, *args, **kwargs))
            return streams[-1]
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Collection, "watch", watch)
    jobs = [follow(service) for _ in range(5)]
    with working(service):
        until(lambda: all(follows(service, job) for job in jobs))
        insert_rows(service, 20)
        until(lambda: all(done(service, job) == 20 for job in jobs))
        assert sum(stream.alive for stream in streams) == 1


@pytest.mark.usefixtures("model")
def test_a_row_that_does_not_fit_is_a_failed_one_and_the_job_goes_on(service: Service) -> None:
    job = follow(service)
    with working(service):
        until(lambda: follows(service, job))
        service.db["inputs"].insert_one({"_id": ObjectId(), "data": [1.0]})
        insert_rows(service, 1)
        until(lambda: done(service, job) == 2)
    assert sorted(result["status"] for result in results(service, job)) == ["failed", "succeeded"]
    assert reload(service, job)["progress"]["failed"] == 1


@pytest.mark.usefixtures("model")
def test_a_held_job_keeps_its_lease_while_nothing_arrives(service: Service) -> None:
    job = follow(service)
    with working(service, lease_seconds=1):
        until(lambda: follows(service, job))
        before = reload(service, job)
        until(lambda: reload(service, job)["lease"] > before["lease"])
        assert states.claim(service.db["jobs"], "another") is None
        assert reload(service, job)["fence"] == before["fence"]


@pytest.mark.usefixtures("model")
def test_takeovers_of_an_idle_job_are_forgiven_by_and_by(service: Service) -> None:
    job = follow(service)
    with working(service, lease_seconds=1):
        until(lambda: follows(service, job))
    for _ in range(2):  # two workers died with it, one after the other
        claimed = states.claim(service.db["jobs"], "dead", 1)
        assert claimed is not None
        expire_lease(service, job)
    with working(service, lease_seconds=1):
        until(lambda: follows(service, job) and reload(service, job)["attempts"] > 0)
        until(lambda: reload(service, job)["attempts"] == 0)
        insert_rows(service, 1)
        until(lambda: done(service, job) == 1)
        until(lambda: reload(service, job)["progress"]["total"] == 1)
