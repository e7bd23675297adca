"""Secrets of owners, and that what is signed with them is verified as the documentation says."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.webhooks import signing
from ml.webhooks.secrets import Secrets
from tests.integration.webhooks.deliveries import a_delivery, ended, signatures, signed_with

PAGE = Path(__file__).parents[3] / "docs/webhooks.md"


def test_a_secret_that_was_replaced_signs_for_a_day_more(db: Any, send: Any, receive: Any) -> None:
    receiver = receive()
    secrets = Secrets(db)
    first = secrets.of("alice")
    second = secrets.rotate("alice")
    third = secrets.rotate("alice")
    assert (len(first), len({first, second, third})) == (32, 3)
    assert secrets.of("alice") == third
    ended_ = a_delivery(db, receiver.url)
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
    made = a_delivery(db, receiver.url, owner=None)
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


def test_a_message_is_verified_as_the_documentation_says(db: Any, send: Any, receive: Any) -> None:
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    page: dict[str, Any] = {}
    exec(block[1], page)
    receiver = receive()
    made = a_delivery(db, receiver.url)
    send()
    ended(db, made)
    [message] = receiver.messages
    secret = signing.shown(Secrets(db).of("alice"))
    page["verify"](secret, message.headers, message.body)
    for wrong in (
        (signing.shown(Secrets(db).of("bob")), message.headers, message.body),
        (secret, message.headers, message.body + b" "),
        (secret, {**message.headers, "webhook-id": "x"}, message.body),
        (
            secret,
            {**message.headers, "webhook-timestamp": str(int(message.headers["webhook-timestamp"]) + 1)},
            message.body,
        ),
    ):
        with pytest.raises(ValueError, match="not signed"):
            page["verify"](*wrong)
    with pytest.raises(ValueError, match="too long ago"):
        page["verify"](secret, message.headers, message.body, seconds=-1)
    # What was signed before the secret was replaced stays good by the old one, what comes after by both.
    Secrets(db).rotate("alice")
    again = a_delivery(db, receiver.url)
    ended(db, again)
    for valid in (secret, signing.shown(Secrets(db).of("alice"))):
        page["verify"](valid, receiver.messages[1].headers, receiver.messages[1].body)
