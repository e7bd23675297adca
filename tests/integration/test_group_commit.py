"""Inputs and results in one durable commit: what the server is told, and what is done when something goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bson
import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect, NetworkTimeout, WriteConcernError, WriteError

from ml.database import group_commit, wire
from ml.database.client import database_of
from ml.database.group_commit import write_together


@pytest.fixture
def db(client: Any) -> Any:
    return database_of(client)


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each time that the documents were left to the driver's insert_many."""
    calls: list[int] = []
    real = group_commit._insert
    monkeypatch.setattr(group_commit, "_insert", lambda *args: (calls.append(1), real(*args)))
    return calls


def documents() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    inputs = [{"_id": ObjectId(), "data": [1.0]} for _ in range(3)]
    return inputs, [{"_id": ObjectId(), "input": row["_id"]} for row in inputs]


def stored(db: Any) -> tuple[int, int]:
    return db["inputs"].count_documents({}), db["results"].count_documents({})


def answer(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Let the server do what it is told, and change its replies."""
    real = wire.insert_at_once
    monkeypatch.setattr(group_commit, "insert_at_once", lambda *args: [change(reply) for reply in real(*args)])


def test_both_are_inserted_durably_at_once_on_connections_of_the_driver(
    db: Any, monkeypatch: pytest.MonkeyPatch, again: list[int]
) -> None:
    seen: list[Any] = []
    real = wire._message

    def message(database: str, insert: wire.Insert, concern: Any) -> Any:
        seen.append((insert.collection, len(insert.documents), concern))
        return real(database, insert, concern)

    monkeypatch.setattr(wire, "_message", message)
    write_together(db, *documents())
    assert stored(db) == (3, 3)
    durable = {"w": "majority", "j": True}
    # Fails where a new version of the driver has not what wire.py takes from it: then all goes the slow way.
    assert (seen, again) == ([("inputs", 3, durable), ("results", 3, durable)], [])


def test_what_was_written_is_what_was_given(db: Any) -> None:
    inputs, results = documents()
    inputs[0] |= {"data": {"dtype": "FP32", "shape": [1], "data": b"\0\0\0\0"}, "meta": {"é": None}}
    write_together(db, inputs, results)
    assert [row["_id"] for row in db["inputs"].find().sort("_id")] == [row["_id"] for row in inputs]
    assert db["inputs"].find_one({"_id": inputs[0]["_id"]}) == inputs[0]
    assert list(db["results"].find().sort("_id")) == results


def test_after_another_election_both_are_written_again_and_stored_once(
    db: Any, monkeypatch: pytest.MonkeyPatch, again: list[int]
) -> None:
    answer(monkeypatch, lambda reply: {**reply, "writeConcernError": {"code": 11602, "errmsg": "stepped down"}})
    write_together(db, *documents())
    assert (again, stored(db)) == ([1], (3, 3))


def test_one_that_is_not_primary_any_more_is_not_the_end(
    db: Any, monkeypatch: pytest.MonkeyPatch, again: list[int]
) -> None:
    answer(monkeypatch, lambda _: {"ok": 0.0, "code": 10107, "errmsg": "not primary"})
    write_together(db, *documents())
    assert (again, stored(db)) == ([1], (3, 3))


def test_after_a_broken_connection_both_are_written_again(
    db: Any, monkeypatch: pytest.MonkeyPatch, again: list[int]
) -> None:
    def broken(_: dict[str, Any]) -> dict[str, Any]:
        raise AutoReconnect("the answer did not come")

    answer(monkeypatch, broken)
    write_together(db, *documents())
    assert (again, stored(db)) == ([1], (3, 3))


def test_an_answer_that_was_not_read_is_nobody_elses(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second answer is still on its way when the first one's reading fails; its connection must not be used on."""
    real = wire.insert_at_once
    connections: list[Any] = []

    class Watched:
        def __init__(self, client: Any) -> None:
            self._client = client

        def _conn_for_writes(self, session: Any, operation: str) -> Any:
            checkout = self._client._conn_for_writes(session, operation)
            enter = type(checkout).__enter__

            class Watch:
                def __enter__(self) -> Any:
                    connection = enter(checkout)
                    connections.append(connection)
                    if len(connections) == 1:
                        monkeypatch.setattr(connection, "receive_message", fail, raising=False)
                    return connection

                def __exit__(self, *error: Any) -> Any:
                    return checkout.__exit__(*error)

            return Watch()

    def fail(_: int) -> Any:
        raise AutoReconnect("cut")

    class Database:
        client = Watched(db.client)
        name, codec_options = db.name, db.codec_options

    inputs, results = documents()
    rows = [wire.Insert("inputs", [bson.encode(row) for row in inputs])]
    rows.append(wire.Insert("results", [bson.encode(row) for row in results]))
    with pytest.raises(AutoReconnect, match="cut"):
        real(Database, rows, {"w": 1})  # type: ignore[arg-type]
    assert [connection.closed for connection in connections] == [True, True]


def test_the_time_that_an_answer_may_take_is_taken_once(
    db: Any, monkeypatch: pytest.MonkeyPatch, again: list[int]
) -> None:
    def late(_: dict[str, Any]) -> dict[str, Any]:
        raise NetworkTimeout("no answer")

    answer(monkeypatch, late)
    with pytest.raises(NetworkTimeout):
        write_together(db, *documents())
    assert again == []


def test_a_large_commit_is_cut_by_the_driver(db: Any, again: list[int]) -> None:
    inputs, results = documents()
    for row in inputs:
        row["data"] = b"x" * (7 << 20)
    write_together(db, inputs, results)
    assert (again, stored(db)) == ([1], (3, 3))


def test_what_the_database_refuses_is_an_error(db: Any) -> None:
    inputs, results = documents()
    del inputs[1]["data"]
    with pytest.raises(WriteError, match="validation"):
        write_together(db, inputs, results)


def test_what_is_not_durable_is_an_error(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, lambda reply: {**reply, "writeConcernError": {"code": 64, "errmsg": "waiting timed out"}})
    with pytest.raises(WriteConcernError, match="timed out"):
        write_together(db, *documents())


def test_results_alone(db: Any, again: list[int]) -> None:
    write_together(db, [], documents()[1])
    assert (again, stored(db)) == ([], (0, 3))
