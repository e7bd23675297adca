"""While the database is away those who were known stay, others are told to come again, and none waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo.errors import NetworkTimeout

from ml.database.client import database_of
from ml.errors import StorageUnavailable
from ml.identity import known
from ml.identity.identity import Identity
from ml.identity.keys import create_key, new_key
from ml.identity.passwords import hash_password
from tests.integration.identity.people import PASSWORD
from tests.integration.rest import Client
from tests.waiting import until

HERE = "127.0.0.1"


class Switch:
    """The database, which can be gone or hang."""

    def __init__(self, db: Any) -> None:
        self._db = db
        self.gone = False
        self.asked = 0
        self.hangs: threading.Event | None = None

    def command(self, name: str) -> Any:
        return self[name].database.command(name)

    def __getitem__(self, name: str) -> Any:
        self.asked += 1
        if self.hangs is not None:
            assert self.hangs.wait(20)
            raise NetworkTimeout("it hangs")
        if self.gone:
            raise NetworkTimeout("it is gone")
        return self._db[name]


@pytest.fixture
def db(client: Client) -> Switch:
    return Switch(database_of(client))


@pytest.fixture
def identity(db: Switch) -> Iterator[Identity]:
    made = Identity(db)  # type: ignore[arg-type]
    yield made
    db.hangs = None
    made.close()


def is_known(identity: Identity, key: str) -> bool:
    try:
        return identity.of_key(key, HERE) is not None
    except StorageUnavailable:
        return False


def test_who_was_known_stays_and_others_come_again(db: Switch, identity: Identity) -> None:
    keys = [create_key(db, "user", "alice")[1] for _ in range(2)]  # type: ignore[arg-type]
    user = {"name": "bob", "role": "user", "password_hash": hash_password(PASSWORD)}
    db["users"].insert_one(user)
    assert identity.of_key(keys[0], HERE) is not None
    assert identity.of_user("bob", PASSWORD, HERE) is not None
    db.gone = True
    asked = db.asked
    until(lambda: db.asked >= asked + 3)  # it was found gone
    assert identity.of_key(keys[0], HERE) is not None
    assert identity.of_user("bob", PASSWORD, HERE) is not None
    assert identity.of_user("bob", "a guess", HERE) is None
    for ask in (
        lambda: identity.of_key(keys[1], HERE),
        lambda: identity.of_key(new_key(), HERE),
        lambda: identity.of_user("carol", PASSWORD, HERE),
    ):
        with pytest.raises(StorageUnavailable):
            ask()
    db.gone = False
    until(lambda: is_known(identity, keys[1]), 2)
    assert identity.of_key(new_key(), HERE) is None


def test_ten_minutes_are_the_most(db: Switch, identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "GOOD_SECONDS", 1.0)
    key = create_key(db, "user", "alice")[1]  # type: ignore[arg-type]
    assert identity.of_key(key, HERE) is not None
    db.gone = True

    until(lambda: not is_known(identity, key), 5)
    db.gone = False
    until(lambda: is_known(identity, key), 2)


def test_no_request_waits_to_find_out_whether_it_is_back(db: Switch, identity: Identity) -> None:
    key = create_key(db, "user", "alice")[1]  # type: ignore[arg-type]
    db.hangs = threading.Event()
    first = threading.Thread(target=lambda: is_known(identity, key))
    first.start()
    until(lambda: db.asked >= 2)
    db.hangs.set()
    first.join()
    db.hangs = threading.Event()
    until(lambda: db.asked >= 3)  # the thread asks, and hangs
    for _ in range(8):
        with pytest.raises(StorageUnavailable):
            identity.of_key(new_key(), HERE)
    hanging, db.hangs = db.hangs, None
    hanging.set()
    until(lambda: is_known(identity, key))


def test_what_is_not_used_is_forgotten(
    db: Switch, identity: Identity, monkeypatch: pytest.MonkeyPatch, stub: Callable[..., Any]
) -> None:
    monkeypatch.setattr("ml.identity.identity.IDLE_SECONDS", 0.0)
    key = create_key(db, "user", "alice")[1]  # type: ignore[arg-type]
    assert identity.of_key(key, HERE) is not None
    until(lambda: not identity._keys.all())
    assert identity.of_key(key, HERE) is not None


def test_few_are_kept_in_mind(db: Switch) -> None:
    memory = known.Memory(8)
    for number in range(20):
        one = known.Known(None, "", None, 0.0)  # type: ignore[arg-type]
        one.used = float(number)
        memory.put(str(number), one)
    assert len(memory.all()) <= 8
    assert memory.get("19") is not None
