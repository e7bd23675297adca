"""Inputs and results in one durable commit: what the server tells, and what is done when something goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect, WriteError

from ml.database import group_commit
from ml.database.client import database_of
from ml.database.group_commit import write_together


@pytest.fixture
def db(client: Any) -> Any:
    return database_of(client)


def documents() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    inputs = [{"_id": ObjectId(), "data": [1.0]} for _ in range(3)]
    return inputs, [{"_id": ObjectId(), "input": row["_id"]} for row in inputs]


def stored(db: Any) -> tuple[int, int]:
    return db["inputs"].count_documents({}), db["results"].count_documents({})


class Replies:
    """What the server was told and what it answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[dict[str, Any]] = []
        self._real = group_commit._command
        monkeypatch.setattr(group_commit, "_command", self)

    def __call__(self, db: Any, name: str, rows: Any, concern: Any) -> dict[str, Any]:
        reply = self._real(db, name, rows, concern)
        self.seen.append({"name": name, "concern": concern, **reply})
        return self.change(reply)

    def change(self, reply: dict[str, Any]) -> dict[str, Any]:
        return reply


def test_inputs_first_then_the_results_durably_by_one_primary(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = Replies(monkeypatch)
    write_together(db, *documents(), 100)
    assert stored(db) == (3, 3)
    first, last = replies.seen
    assert (first["name"], last["name"]) == ("inputs", "results")
    assert last["concern"] == {"w": "majority", "j": True}
    # The order of the oplog is what makes the first durable with the last, so both must tell who took them and when.
    assert isinstance(first["electionId"], ObjectId)
    assert first["electionId"] == last["electionId"]
    assert first["opTime"]["ts"] < last["opTime"]["ts"]


def test_after_another_election_both_are_written_again_and_stored_once(
    db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elected(Replies):
        def change(self, reply: dict[str, Any]) -> dict[str, Any]:
            return {**reply, "electionId": ObjectId()}

    again: list[int] = []
    real = group_commit._insert
    monkeypatch.setattr(group_commit, "_insert", lambda *args: (again.append(1), real(*args)))
    Elected(monkeypatch)
    write_together(db, *documents(), 100)
    assert again == [1]
    assert stored(db) == (3, 3)


def test_after_a_broken_connection_both_are_written_again(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Replies):
        def change(self, reply: dict[str, Any]) -> dict[str, Any]:
            raise AutoReconnect("the answer did not come")

    Broken(monkeypatch)
    write_together(db, *documents(), 100)
    assert stored(db) == (3, 3)


def test_a_large_commit_is_cut_by_the_driver(db: Any) -> None:
    inputs, results = documents()
    for row in inputs:
        row["data"] = b"x" * (7 << 20)
    write_together(db, inputs, results, 21 << 20)
    assert stored(db) == (3, 3)


def test_what_the_database_refuses_is_an_error(db: Any) -> None:
    inputs, results = documents()
    del inputs[1]["data"]
    with pytest.raises(WriteError):
        write_together(db, inputs, results, 100)
    assert stored(db)[1] == 0


def test_results_alone(db: Any) -> None:
    write_together(db, [], documents()[1], 100)
    assert stored(db) == (0, 3)
