"""Deliveries are sent to real receivers until they arrive or are given up; nobody waits for others."""

from __future__ import annotations

import re
import socket
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import REGISTRY

from ml.webhooks import deliveries
from ml.webhooks.post import MOST_BYTES, Poster
from ml.webhooks.secrets import Secrets
from ml.webhooks.sender import MOST_TO_HOST
from tests.integration.webhooks.deliveries import QUICK, a_delivery, ended, signatures, signed_with
from tests.receivers import mute
from tests.waiting import until


def test_a_receiver_that_is_down_for_five_attempts(db: Any, send: Any, receive: Any) -> None:
    receiver = receive(lambda n: (503 if n <= 5 else 200, {}))
    delivery = a_delivery(db, receiver.url)
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
    delivery = a_delivery(db, url)
    send()
    after = ended(db, delivery)
    assert (after["status"], after["attempt"]) == ("failed", 12)
    assert "refused" in after["error"]
    assert not after.keys() & {"next_at", "response_code", "claim", "lease"}


def test_pauses_grow_and_a_receiver_may_ask_for_longer_ones(db: Any) -> None:
    collection = db["deliveries"]
    delivery = a_delivery(db, "http://receiver.example/")

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
    delivery = a_delivery(db, receiver.url)
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
        slow = [a_delivery(db, f"{url}/{i}") for i in range(20)]
        others = [a_delivery(db, receiver.url, owner=owner) for owner in ("alice", "bob")]
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
        slow = [a_delivery(db, url) for _ in range(8)]
        for number, delivery in enumerate(slow):
            db["deliveries"].update_one({"_id": delivery["_id"]}, {"$set": {"host": f"{number}.example"}})
        other = a_delivery(db, receiver.url, owner="bob")
        # All four places: the one owner has them until the other comes, and then the first that is free is the other's.
        send(Poster(private=True, seconds=0.5), pauses=(30.0,) * 11, most=4)
        ended(db, other)
        assert db["deliveries"].count_documents({"attempt": {"$gte": 1}, "owner": "alice"}) <= 4


def test_two_senders_make_each_attempt_once(db: Any, client: Any, receive: Any, send: Any) -> None:
    receiver = receive()
    made = [a_delivery(db, receiver.url, owner=f"owner{n % 5}") for n in range(40)]
    for _ in range(3):
        send()
    for delivery in made:
        assert ended(db, delivery)["attempt"] == 1
    assert len(receiver.messages) == 40
    assert {message.headers["webhook-id"] for message in receiver.messages} == {str(d["_id"]) for d in made}


def test_a_claim_is_one_senders_until_its_lease_runs_out(db: Any) -> None:
    collection = db["deliveries"]
    url = "http://receiver.example/"
    made = a_delivery(db, url)
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
    made = a_delivery(db, receiver.url)
    db["deliveries"].update_one({"_id": made["_id"]}, {"$set": {"attempt": 12}})
    send()
    after = ended(db, made)
    assert (after["status"], after["error"]) == ("failed", "no worker lived to the end of an attempt")
    assert receiver.messages == []


def test_the_events_of_a_job_are_sent_one_after_the_other(db: Any, send: Any, receive: Any) -> None:
    """Although there is a place for each."""
    receiver = receive()
    with mute() as url:
        job = a_delivery(db, url, webhook={"url": url})["job"]
        # One that came later, and is let pass; as if it were elsewhere.
        other = a_delivery(db, receiver.url)
        db["deliveries"].update_one({"_id": other["_id"]}, {"$set": {"host": "b.example"}})
        send(Poster(private=True, seconds=30))
        ended(db, other)
        attempts = [delivery["attempt"] for delivery in db["deliveries"].find({"job": job}).sort("n", 1)]
        assert attempts == [1, 0]


def test_what_another_program_made_of_deliveries_stops_nothing(db: Any, send: Any, receive: Any) -> None:
    receiver = receive()
    now = {"status": "queued", "next_at": datetime(2020, 1, 1, tzinfo=UTC), "n": 1, "attempt": 0, "payload": "{}"}
    odd: list[Any] = [
        {}, {"status": "queued"}, {"status": "queued", "next_at": "x"}, {**now, "attempt": "x"}, {**now, "url": 5},
        {**now, "url": "no url"}, {**now, "url": receiver.url, "payload": {"a": 1}}, {**now, "lease": "x", "url": "x"},
        {**now, "url": "x", "owner": ["a"], "host": {"a": 1}, "job": {"b": 1}}, {**now, "_id": "text", "url": "x"},
    ]  # fmt: skip
    db["deliveries"].insert_many(odd)
    good = a_delivery(db, receiver.url)
    send()
    assert ended(db, good)["status"] == "delivered"
    until(lambda: db["deliveries"].count_documents({"status": "failed"}) == 4)
    assert len(receiver.messages) == 1


@pytest.mark.parametrize(
    ("status", "given", "seconds"),
    [
        (503, "7", 7.0), (429, " 120 ", 120.0), (503, "0", 0.0), (500, "7", None), (200, "7", None), (503, "-1", None),
        (503, "soon", None), (503, "Wed, 21 Oct 2026 07:28:00 GMT", None), (503, "9" * 400, None), (503, "\xb2", None),
    ],
)  # fmt: skip
def test_how_long_a_receiver_asks_for_peace(receive: Any, status: int, given: str, seconds: float | None) -> None:
    receiver = receive(lambda _: (status, {"Retry-After": given}))
    assert Poster(private=True).post(receiver.url, {}, b"{}").retry_after == seconds
