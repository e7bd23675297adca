"""Fixtures of the tests of webhooks: a sender that is quick, and real receivers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ml.database.client import database_of
from ml.webhooks.post import Poster
from ml.webhooks.sender import Sender
from tests.integration.webhooks.deliveries import QUICK
from tests.receivers import Receiver, receiving


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
