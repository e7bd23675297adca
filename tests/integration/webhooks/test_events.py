"""From what happens to a job to its deliveries: each event once, whatever is cut, and cheap to look for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect

from ml.jobs import states
from ml.jobs.worker import Worker
from ml.service import Service
from ml.webhooks import deliveries, outbox
from tests.integration.webhooks.deliveries import a_job, ended, found
from tests.waiting import until


def test_what_happens_to_a_job_arrives_in_its_order(
    service: Service, db: Any, client: Any, stub: Callable[..., Any], send: Any, receive: Any
) -> None:
    stub(client)
    receiver = receive()
    db["inputs"].insert_many([{"data": [1.0, 2.0, float(i)]} for i in range(3)])
    job = service.jobs.prepare({"_id": ObjectId(), "model": "sums", "webhook": {"url": receiver.url}}, "alice", {})
    db["jobs"].insert_one(job)
    assert Worker(db, service.registry, threading.Event()).run_pending() == 1
    send()
    first, second = until(lambda: len(receiver.messages) >= 2 and receiver.messages)
    assert [first.json["type"], second.json["type"]] == ["job.started", "job.succeeded"]
    assert second.json["data"]["progress"].items() >= {"total": 3, "done": 3, "failed": 0}.items()
    assert second.json["data"].keys() == {
        "_id", "_created", "model", "version", "priority", "owner", "status", "progress", "started", "ended",
    }  # fmt: skip
    assert first.json["data"].items() >= {"_id": str(job["_id"]), "status": "running", "owner": "alice"}.items()
    assert second.json["data"]["status"] == "succeeded"
    assert second.json["timestamp"] == second.json["data"]["ended"]
    assert second.headers["content-type"] == "application/json"
    assert second.path == "/hook"
    delivery = ended(db, found(db, job, "succeeded"))
    assert second.headers["webhook-id"] == str(delivery["_id"])
    assert abs(int(second.headers["webhook-timestamp"]) - time.time()) < 60
    assert (delivery["status"], delivery["attempt"], delivery["response_code"]) == ("delivered", 1, 204)
    assert delivery["owner"] == "alice"
    assert not delivery.keys() & {"next_at", "error", "claim", "lease"}
    assert "outbox" not in (db["jobs"].find_one({"_id": job["_id"]}) or {})


def test_every_event_from_the_states_of_a_job(service: Service, db: Any) -> None:
    job = a_job(db, "http://receiver.example/x")
    claimed = states.claim(db["jobs"], "w") or {}
    assert states.advance(db["jobs"], claimed, {}, {"done": 1}, tell=True)
    assert states.advance(db["jobs"], claimed, {}, {"done": 2}, tell=True), "which waits already, and is not told twice"
    assert states.fail(db["jobs"], claimed, "it could not be")
    for wish in ("queued", "canceled"):
        service.jobs.update(db["jobs"].find_one({"_id": job["_id"]}), {"status": wish})
    noted = db["jobs"].find_one({"_id": job["_id"]})["outbox"]
    assert [(note["n"], note["event"], note["status"]) for note in noted] == [
        (1, "started", "running"), (2, "progress", "running"), (3, "failed", "failed"), (4, "canceled", "canceled"),
    ]  # fmt: skip
    assert (noted[1]["progress"]["done"], noted[2]["error"], noted[3].get("error")) == (1, "it could not be", None)
    outbox.move_all(db)
    made = list(db["deliveries"].find({"job": job["_id"]}).sort("n", 1))
    assert [delivery["event"] for delivery in made] == ["started", "failed", "canceled"], "progress was overtaken"
    assert [delivery["next_at"] for delivery in made] == [noted[0]["at"], noted[2]["at"], noted[3]["at"]]


@pytest.mark.parametrize("webhook", [None, {"url": "http://receiver.example/x", "events": ["failed"]}])
def test_what_nobody_wants_to_hear_is_not_noted(db: Any, webhook: Any) -> None:
    job = a_job(db, "", webhook=webhook)
    claimed = states.claim(db["jobs"], "w") or {}
    states.advance(db["jobs"], claimed, {}, {"done": 1}, tell=True)
    states.succeed(db["jobs"], claimed, {})
    assert "outbox" not in db["jobs"].find_one({"_id": job["_id"]})


@pytest.mark.parametrize(
    "odd",
    [
        {"webhook": {"url": "http://a.example/", "events": "started"}}, {"outbox": 5}, {"noted": "x"},
        {"outbox": [5, {"n": "x"}, {"n": 1}, {"n": 7, "event": "exploded"}, None]}, {"webhook": {"url": 5}},
        {"webhook": [{"url": "x"}]}, {"webhook": "x", "outbox": [{"n": 1, "event": "started", "at": 5}]},
        {"webhook": {"url": "no url"}}, {"outbox": {"0": 1}}, {"progress": "x"},
    ],
)  # fmt: skip
def test_what_another_program_wrote_into_a_job_stops_nothing(db: Any, odd: dict[str, Any]) -> None:
    a_job(db, "http://receiver.example/x", **odd)
    good = a_job(db, "http://receiver.example/x")
    for _ in range(2):
        assert states.claim(db["jobs"], "w") is not None
    outbox.move_all(db)
    assert found(db, good, "started")
    assert outbox.move_all(db) == 0


def test_a_move_that_is_cut_in_between_makes_no_second_delivery(
    db: Any, send: Any, receive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = receive()
    job = a_job(db, receiver.url)
    states.claim(db["jobs"], "w")
    stored = db["jobs"].find_one({"_id": job["_id"]})

    class Cut:
        """The database, which goes away when the notes are to be taken out of the job."""

        def __getitem__(self, name: str) -> Any:
            if name == "jobs":
                raise AutoReconnect("gone")
            return db[name]

    with pytest.raises(AutoReconnect):
        outbox.move(Cut(), stored)  # type: ignore[arg-type]
    assert (db["jobs"].find_one({"_id": job["_id"]}) or {})["outbox"]
    sender = send()
    delivery = ended(db, found(db, job, "started"))
    until(lambda: "outbox" not in (db["jobs"].find_one({"_id": job["_id"]}) or {}))
    outbox.move(db, stored)  # another worker that read the job before
    sender.close()
    assert db["deliveries"].count_documents({}) == 1
    assert db["deliveries"].find_one()["status"] == "delivered"
    assert [message.headers["webhook-id"] for message in receiver.messages] == [str(delivery["_id"])]


def test_a_note_that_comes_while_others_are_moved_stays(db: Any) -> None:
    job = a_job(db, "http://receiver.example/")
    claimed = states.claim(db["jobs"], "w") or {}
    stored = db["jobs"].find_one({"_id": job["_id"]})
    states.succeed(db["jobs"], claimed, {})
    outbox.move(db, stored)
    assert [note["event"] for note in db["jobs"].find_one({"_id": job["_id"]})["outbox"]] == ["succeeded"]
    assert outbox.move_all(db) == 1
    assert [d["n"] for d in db["deliveries"].find().sort("n", 1)] == [1, 2]


def test_progress_that_was_overtaken_is_not_sent_any_more(db: Any) -> None:
    a_job(db, "http://receiver.example/", webhook={"url": "http://receiver.example/", "events": ["progress", "failed"]})
    claimed = states.claim(db["jobs"], "w") or {}
    for done in range(5):
        assert states.advance(db["jobs"], claimed, {}, {"done": done}, tell=True)
        outbox.move_all(db)
    [waiting] = db["deliveries"].find()
    assert (waiting["event"], '"done":4' in waiting["payload"]) == ("progress", True)
    under_way = deliveries.claim(db["deliveries"], {}) or {}
    states.fail(db["jobs"], claimed, "x")
    outbox.move_all(db)
    assert sorted(d["event"] for d in db["deliveries"].find()) == ["failed", "progress"]
    assert deliveries.deliver(db["deliveries"], under_way, 200), "one that is being sent is left alone"


def stages(plan: dict[str, Any]) -> list[str]:
    return [plan["stage"], *(stage for below in [plan.get("inputStage")] if below for stage in stages(below))]


def test_looking_for_work_reads_an_index(db: Any) -> None:
    db["jobs"].insert_many([{"status": "succeeded", "n": n} for n in range(50)])
    job = a_job(db, "http://receiver.example/")
    states.claim(db["jobs"], "w")
    found_ = db["jobs"].find(outbox._WAITING).hint("outbox").explain()["executionStats"]
    assert (found_["nReturned"], found_["totalDocsExamined"]) == (1, 1)
    outbox.move_all(db)
    later = [{"status": "queued", "next_at": job["_id"].generation_time.replace(year=2100), "n": n} for n in range(50)]
    db["deliveries"].insert_many(later + [{"status": "delivered", "n": n} for n in range(50)])
    command = {
        "findAndModify": "deliveries",
        "query": {"status": "queued", **deliveries._SOUND, **deliveries._DUE, "owner": {"$nin": ["bob"]}},
        "sort": {"next_at": 1, "n": 1},
        "update": {"$set": {"x": 1}},
    }
    explained = db.command("explain", command, verbosity="executionStats")
    assert "COLLSCAN" not in str(explained["queryPlanner"]["winningPlan"])
    assert "SORT" not in stages(explained["queryPlanner"]["winningPlan"])
    assert explained["executionStats"]["totalDocsExamined"] <= 2


def test_deliveries_that_arrived_go_after_a_month_and_no_others(db: Any) -> None:
    index = db["deliveries"].index_information()["delivered_expire"]
    assert (index["expireAfterSeconds"], index["partialFilterExpression"]) == (30 * 86_400, {"status": "delivered"})
    assert list(index["key"]) == [("_updated", 1)]
