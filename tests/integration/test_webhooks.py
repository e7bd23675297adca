"""Webhooks against real receivers and a real mongod: what happened to a job arrives, signed, whatever fails between."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from prometheus_client import REGISTRY
from pymongo.errors import AutoReconnect

from ml.database.client import database_of
from ml.jobs import states
from ml.jobs.worker import Worker
from ml.service import Service
from ml.webhooks import deliveries, outbox, target
from ml.webhooks.addresses import is_public
from ml.webhooks.post import MOST_BYTES, Poster
from ml.webhooks.secrets import Secrets
from ml.webhooks.sender import MOST_TO_HOST, Sender
from tests.receivers import Message, Receiver, mute, receiving
from tests.waiting import until

#: Twelve attempts in the time of one.
QUICK = (0.02,) * (len(deliveries.PAUSES))


@pytest.fixture
def service(client: Any, tmp_path: Path) -> Iterator[Service]:
    made = Service(database_of(client), tmp_path / "cache")
    yield made
    made.close()


@pytest.fixture
def db(client: Any) -> Any:
    return database_of(client)


@pytest.fixture
def send(db: Any) -> Iterator[Callable[..., Sender]]:
    """Starts senders, which may reach this machine unless the poster says otherwise."""
    made: list[Sender] = []

    def start(poster: Poster | None = None, **options: Any) -> Sender:
        options = {"pauses": QUICK, "poll": 0.02, **options}
        sender = Sender(db, poster or Poster(private=True, seconds=1.0), **options)
        made.append(sender)
        sender.start()
        return sender

    yield start
    for sender in made:
        sender.close()


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    """Starts receivers."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(receiving(*args, **kwargs))


def a_job(db: Any, url: str, owner: str | None = "alice", **fields: Any) -> dict[str, Any]:
    """A queued job, as it is stored."""
    job = {
        "_id": ObjectId(), "model": "sums", "version": 1, "status": "queued", "priority": 5, "fence": 0, "attempts": 0,
        "progress": {"total": None, "done": 0, "failed": 0, "rows_per_second": None},
        "webhook": {"url": url}, **({"owner": owner} if owner else {}), **fields,
    }  # fmt: skip
    db["jobs"].insert_one(job)
    return job


def a_delivery(db: Any, url: str, **fields: Any) -> dict[str, Any]:
    """A delivery of a job's only event, queued now."""
    job = a_job(db, url, **fields)
    claimed = states.claim(db["jobs"], "w")
    assert claimed is not None
    assert states.succeed(db["jobs"], claimed, {"done": 1})
    outbox.move_all(db)
    return found(db, job, "succeeded")


def found(db: Any, job: dict[str, Any], event: str) -> dict[str, Any]:
    delivery = db["deliveries"].find_one({"job": job["_id"], "event": event})
    assert delivery is not None
    return dict(delivery)


def ended(db: Any, delivery: dict[str, Any]) -> dict[str, Any]:
    """The delivery when it is no longer queued."""

    def look() -> dict[str, Any] | None:
        return db["deliveries"].find_one({"_id": delivery["_id"], "status": {"$ne": "queued"}})  # type: ignore[no-any-return]

    return until(look, what=str(db["deliveries"].find_one({"_id": delivery["_id"]}))) or {}


def only(job: str) -> dict[str, Any]:
    return {"webhook": {"url": job, "events": ["succeeded"]}}


def signatures(message: Message) -> list[str]:
    return [part.removeprefix("v1,") for part in message.headers["webhook-signature"].split(" ")]


def signed_with(secret: bytes, message: Message) -> str:
    """What Standard Webhooks has as the signature of a message, computed from its text alone."""
    content = f"{message.headers['webhook-id']}.{message.headers['webhook-timestamp']}.".encode() + message.body
    return base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()


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


def test_a_receiver_that_is_down_for_five_attempts(db: Any, send: Any, receive: Any) -> None:
    receiver = receive(lambda n: (503 if n <= 5 else 200, {}))
    delivery = a_delivery(db, receiver.url, **only(receiver.url))
    before = counted("retried"), counted("delivered")
    send()
    after = ended(db, delivery)
    assert (after["status"], after["attempt"], after["response_code"]) == ("delivered", 6, 200)
    assert "error" not in after
    assert len(receiver.messages) == 6
    assert len({message.headers["webhook-id"] for message in receiver.messages}) == 1
    assert len({message.body for message in receiver.messages}) == 1
    [secret] = Secrets(db).signing("alice")
    for message in receiver.messages:
        assert signatures(message) == [signed_with(secret, message)]
    until(lambda: (counted("retried"), counted("delivered")) == (before[0] + 5, before[1] + 1))


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("almanac_deliveries_total", {"outcome": outcome}) or 0.0


def test_one_that_nobody_takes_is_given_up_after_twelve_attempts(db: Any, send: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
    delivery = a_delivery(db, url, **only(url))
    send()
    after = ended(db, delivery)
    assert (after["status"], after["attempt"]) == ("failed", 12)
    assert "refused" in after["error"]
    assert not after.keys() & {"next_at", "response_code", "claim", "lease"}


def test_pauses_grow_and_a_receiver_may_ask_for_longer_ones(db: Any) -> None:
    collection = db["deliveries"]
    delivery = a_delivery(db, "http://receiver.example/", **only("http://receiver.example/"))

    def pause(retry_after: float | None = None) -> float:
        claimed = deliveries.claim(collection, {}) or {}
        assert deliveries.fail(collection, claimed, 503, "busy", retry_after=retry_after)
        after = collection.find_one({"_id": delivery["_id"]})
        collection.update_one({"_id": delivery["_id"]}, [{"$set": {"next_at": "$$NOW"}}])
        return float((after["next_at"] - after["_updated"]).total_seconds())

    pauses = [pause() for _ in range(4)]
    for came, least in zip(pauses, deliveries.PAUSES, strict=False):
        assert least <= came <= least * (1 + deliveries.JITTER) + 0.01
    assert len(deliveries.PAUSES) == 11
    assert list(deliveries.PAUSES) == sorted(deliveries.PAUSES)
    assert pause(7000) == 7000
    assert pause(10**9) == deliveries.MOST_SECONDS
    assert pause(1) >= deliveries.PAUSES[6]


@pytest.mark.parametrize(
    ("status", "attempts", "error"),
    [(410, 1, "answered 410"), (404, 3, "answered 404"), (302, 3, "answered 302"), (500, 3, "answered 500")],
)
def test_what_is_no_success(db: Any, send: Any, receive: Any, status: int, attempts: int, error: str) -> None:
    receiver = receive(lambda _: (status, {"Location": "/other"}))
    delivery = a_delivery(db, receiver.url, **only(receiver.url))
    send(pauses=QUICK[:2])
    after = ended(db, delivery)
    assert (after["status"], after["attempt"], after["response_code"]) == ("failed", attempts, status)
    assert error in after["error"]
    assert {message.path for message in receiver.messages} == {"/hook"}


def drip(connection: socket.socket) -> None:
    """An answer that begins, byte by byte, and never ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"x")
        threading.Event().wait(0.05)


def flood(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 2 * MOST_BYTES)


def interim(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        threading.Event().wait(0.05)


@pytest.mark.parametrize(
    ("talk", "error"),
    [
        (None, "no answer within 0.3 s"),
        (drip, "no answer within 0.3 s"),
        (interim, "no answer within 0.3 s"),
        (flood, "do not end within"),
        (lambda connection: connection.shutdown(socket.SHUT_RDWR), "closed before|reset"),
        (lambda connection: connection.sendall(b"SSH-2.0-x\r\n\r\n"), "not HTTP/1.1"),
        (lambda connection: connection.sendall(b"HTTP/1.1 99999 x\r\n\r\n"), "not HTTP/1.1"),
    ],
)  # fmt: skip
def test_a_receiver_that_never_answers_as_it_should(talk: Any, error: str) -> None:
    with mute(talk) as url:
        began = time.monotonic()
        outcome = Poster(private=True, seconds=0.3).post(url, {}, b"{}")
        assert time.monotonic() - began < 3
        assert outcome.code is None
        assert re.search(error, outcome.error or "")


def test_a_body_without_end_is_not_waited_for() -> None:
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")

    with mute(endless) as url:
        began = time.monotonic()
        outcome = Poster(private=True, seconds=5).post(url, {}, b"{}")
        assert (outcome.code, outcome.error) == (200, None)
        assert time.monotonic() - began < 2


def test_a_receiver_that_never_answers_holds_up_nobody_else(db: Any, send: Any, receive: Any) -> None:
    receiver = receive()
    with mute() as url:
        slow = [a_delivery(db, f"{url}/{i}", **only(f"{url}/{i}")) for i in range(20)]
        others = [a_delivery(db, receiver.url, owner=owner, **only(receiver.url)) for owner in ("alice", "bob")]
        # As a name of its own: both are on this machine.
        db["deliveries"].update_many({"_id": {"$in": [d["_id"] for d in others]}}, {"$set": {"host": "b.example"}})
        send(Poster(private=True, seconds=30))
        for delivery in others:
            assert ended(db, delivery)["status"] == "delivered"
        begun = db["deliveries"].count_documents({"attempt": 1, "_id": {"$in": [d["_id"] for d in slow]}})
        assert begun == MOST_TO_HOST
        assert db["deliveries"].count_documents({"status": "queued"}) == len(slow)


def test_an_owner_of_many_slow_hosts_waits_for_himself(db: Any, send: Any, receive: Any) -> None:
    receiver = receive()
    with mute() as url:
        slow = [a_delivery(db, url, **only(url)) for _ in range(8)]
        for number, delivery in enumerate(slow):
            db["deliveries"].update_one({"_id": delivery["_id"]}, {"$set": {"host": f"{number}.example"}})
        other = a_delivery(db, receiver.url, owner="bob", **only(receiver.url))
        # All four places: the one owner has them until the other comes, and then the first that is free is the other's.
        send(Poster(private=True, seconds=0.5), pauses=(30.0,) * 11, most=4)
        ended(db, other)
        assert db["deliveries"].count_documents({"attempt": {"$gte": 1}, "owner": "alice"}) <= 4


def test_two_senders_make_each_attempt_once(db: Any, client: Any, receive: Any, send: Any) -> None:
    receiver = receive()
    made = [a_delivery(db, receiver.url, owner=f"owner{n % 5}", **only(receiver.url)) for n in range(40)]
    for _ in range(3):
        send()
    for delivery in made:
        assert ended(db, delivery)["attempt"] == 1
    assert len(receiver.messages) == 40
    assert {message.headers["webhook-id"] for message in receiver.messages} == {str(d["_id"]) for d in made}


def test_a_claim_is_one_senders_until_its_lease_runs_out(db: Any) -> None:
    collection = db["deliveries"]
    url = "http://receiver.example/"
    made = a_delivery(db, url, **only(url))
    first = deliveries.claim(collection, {}) or {}
    assert first["_id"] == made["_id"]
    assert deliveries.claim(collection, {}) is None
    collection.update_one({"_id": made["_id"]}, [{"$set": {"lease": {"$subtract": ["$$NOW", 1]}}}])
    second = deliveries.claim(collection, {}) or {}
    assert (second["_id"], second["attempt"]) == (made["_id"], 2)
    # The first one was asleep, and has no say any more.
    assert not deliveries.deliver(collection, first, 200)
    assert deliveries.fail(collection, first, 500, "x") is None
    assert deliveries.deliver(collection, second, 200)
    assert (collection.find_one({"_id": made["_id"]})["status"], deliveries.claim(collection, {})) == (
        "delivered",
        None,
    )


def test_one_whose_senders_all_die_is_given_up(db: Any, send: Any, receive: Any) -> None:
    receiver = receive()
    made = a_delivery(db, receiver.url, **only(receiver.url))
    db["deliveries"].update_one({"_id": made["_id"]}, {"$set": {"attempt": 12}})
    send()
    after = ended(db, made)
    assert (after["status"], after["error"]) == ("failed", "no worker lived to the end of an attempt")
    assert receiver.messages == []


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


# Targets


def here(address: str) -> bool:
    """As if 127.0.0.2 were public."""
    return address == "127.0.0.2" or is_public(address)


class Names:
    """A resolver that gives these answers in turn, the last again and again."""

    def __init__(self, *answers: list[str]) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        try:
            return target.look_up(host, port) if host[0].isdigit() else self._answers.pop(0)
        finally:
            self._answers = self._answers or [["127.0.0.1"]]


def test_a_private_target_is_refused_and_tried_again(db: Any, send: Any, receive: Any) -> None:
    receiver = receive()
    delivery = a_delivery(db, receiver.url, **only(receiver.url))
    send(Poster(), pauses=(0.02,))
    after = ended(db, delivery)
    assert (after["status"], after["attempt"]) == ("failed", 2)
    assert "not public" in after["error"]
    assert "response_code" not in after
    assert receiver.messages == []


@pytest.mark.parametrize("code", [307, 308, 301, 302, 303])
def test_a_redirect_to_this_machine_is_refused(db: Any, send: Any, receive: Any, code: int) -> None:
    inside = receive()
    names = Names(["127.0.0.1"])
    for location in (inside.url, f"http://localhost:{inside.port}/hook", f"http://[::ffff:127.0.0.1]:{inside.port}/"):
        outside = receive(lambda _, location=location: (code, {"Location": location}), "127.0.0.2")
        delivery = a_delivery(db, outside.url, **only(outside.url))
        sender = send(Poster(look_up=names, allowed=here), pauses=())
        after = ended(db, delivery)
        sender.close()
        assert (after["status"], after["response_code"]) == ("failed", code)
        assert ("redirected, and" in after["error"]) is (code in (307, 308))
        assert len(outside.messages) == 1
    assert inside.messages == []


def test_a_redirect_that_keeps_the_method_is_followed(receive: Any) -> None:
    last = receive(host="127.0.0.2")
    first = receive(lambda _: (307, {"Location": f"{last.url}?x=1"}))
    outcome = Poster(private=True).post(first.url, {"webhook-id": "1"}, b'{"a":1}')
    assert (outcome.code, outcome.error) == (204, None)
    [message] = last.messages
    assert (message.path, message.body) == ("/hook?x=1", b'{"a":1}')
    assert message.headers["webhook-id"] == "1"
    assert message.headers["host"] == f"127.0.0.2:{last.port}"
    assert not {"authorization", "cookie", "referer"} & message.headers.keys()


def test_redirects_in_a_circle_end(receive: Any) -> None:
    receiver = receive(lambda _: (308, {"Location": "/hook"}))
    outcome = Poster(private=True).post(receiver.url, {}, b"{}")
    assert (outcome.code, outcome.error) == (308, "more than 3 redirects")
    assert len(receiver.messages) == 4


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://a.example/", "http://u:p@a.example/", "//", "http://["]
)
def test_a_redirect_to_what_is_no_target(receive: Any, location: str) -> None:
    receiver = receive(lambda _: (307, {"Location": location}))
    outcome = Poster(private=True).post(receiver.url, {}, b"{}")
    assert outcome.code == 307
    assert outcome.error


def test_the_name_is_looked_up_once_an_attempt_and_checked_each_time(db: Any, send: Any, receive: Any) -> None:
    """A name that is public when it is checked and private when it is connected to: it is looked up only once."""
    inside = receive()
    outside = receive(lambda n: (500, {}), "127.0.0.2")
    names = Names(["127.0.0.2"], ["127.0.0.1"])
    # Both servers on their own ports: what is connected to is told by who got the message.
    url = f"http://rebind.example:{outside.port}/hook"
    delivery = a_delivery(db, url, **only(url))
    send(Poster(look_up=names, allowed=here), pauses=(0.02,))
    after = ended(db, delivery)
    assert names.asked == ["rebind.example"] * 2
    assert len(outside.messages) == 1
    assert outside.messages[0].headers["host"] == f"rebind.example:{outside.port}"
    assert (after["attempt"], "response_code" in after) == (2, False)
    assert after["error"].startswith("rebind.example leads to an address that is not public")
    assert inside.messages == []


def test_the_next_address_is_tried_where_one_does_not_answer(receive: Any) -> None:
    receiver = receive(host="127.0.0.2")
    poster = Poster(private=True, look_up=lambda host, port: ["127.0.0.3", "127.0.0.2"])
    assert poster.post(f"http://two.example:{receiver.port}/", {}, b"{}").code == 204


def test_proxies_of_the_environment_are_not_asked(receive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, proxy = receive(), receive(host="127.0.0.2")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.2:{proxy.port}")
    assert Poster(private=True).post(receiver.url, {}, b"{}").code == 204
    assert proxy.messages == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own for receiver.example."""
    path = tmp_path_factory.mktemp("tls") / "receiver.pem"
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", "/CN=receiver.example", "-addext", "subjectAltName=DNS:receiver.example",
             "-keyout", path, "-out", path],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("no openssl")
    return path


def test_tls_is_with_the_name_not_the_address(receive: Any, certificate: Path) -> None:
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate)
    asked: list[str] = []
    ours.sni_callback = lambda socket, name, context: asked.append(name)
    receiver = receive(tls=ours)
    trusting = ssl.create_default_context(cafile=certificate)
    poster = Poster(private=True, look_up=lambda host, port: ["127.0.0.1"], tls=trusting)
    assert poster.post(f"https://receiver.example:{receiver.port}/x", {}, b"{}").code == 204
    assert asked == ["receiver.example"]
    assert receiver.messages[0].headers["host"] == f"receiver.example:{receiver.port}"
    for url, tls in (
        (f"https://other.example:{receiver.port}/", trusting),
        (f"https://receiver.example:{receiver.port}/", None),
    ):
        outcome = Poster(private=True, look_up=lambda host, port: ["127.0.0.1"], tls=tls).post(url, {}, b"{}")
        assert "CertificateVerification" in (outcome.error or "") or "CERTIFICATE_VERIFY" in (outcome.error or "")
    assert len(receiver.messages) == 1


def test_a_redirect_from_https_to_http_is_refused(receive: Any, certificate: Path) -> None:
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate)
    plain = receive()
    receiver = receive(lambda _: (307, {"Location": plain.url}), tls=ours)
    poster = Poster(
        private=True, look_up=lambda host, port: ["127.0.0.1"], tls=ssl.create_default_context(cafile=certificate)
    )
    outcome = poster.post(f"https://receiver.example:{receiver.port}/x", {}, b"{}")
    assert (outcome.code, outcome.error) == (307, "redirected, and redirected from https to what is not")
    assert plain.messages == []


# Secrets


def test_a_secret_that_was_replaced_signs_for_a_day_more(db: Any, send: Any, receive: Any) -> None:
    receiver = receive()
    secrets = Secrets(db)
    first = secrets.of("alice")
    second = secrets.rotate("alice")
    third = secrets.rotate("alice")
    assert (len(first), len({first, second, third})) == (32, 3)
    assert secrets.of("alice") == third
    ended_ = a_delivery(db, receiver.url, **only(receiver.url))
    send()
    ended(db, ended_)
    [message] = receiver.messages
    assert signatures(message) == [signed_with(secret, message) for secret in (third, second, first)]

    def a_day_later(previous: int) -> None:
        field = f"previous.{previous}.until"
        kept = db["webhook_secrets"].find_one({"_id": "alice"})["previous"][previous]["until"]
        assert 86_000 < (kept - datetime.now(UTC)).total_seconds() <= 86_401
        db["webhook_secrets"].update_one({"_id": "alice"}, {"$set": {field: kept - timedelta(days=2)}})

    a_day_later(1)
    assert secrets.signing("alice") == [third, second]
    a_day_later(0)
    assert secrets.signing("alice") == [third]
    assert secrets.signing("bob") == [secrets.of("bob")] != [third]


def test_what_belongs_to_nobody_is_signed_for_the_administrator(db: Any, send: Any, receive: Any) -> None:
    receiver = receive()
    made = a_delivery(db, receiver.url, owner=None, **only(receiver.url))
    send()
    assert "owner" not in ended(db, made)
    [message] = receiver.messages
    assert signatures(message) == [signed_with(Secrets(db).of("admin"), message)]


def test_the_first_secret_is_one_whoever_asks_first(db: Any) -> None:
    found: list[bytes] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        found.append(Secrets(db).of("alice"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


# What it costs to look


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
