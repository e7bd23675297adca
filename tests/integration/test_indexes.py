"""Collections, validator and indexes: made once, only where missing, by any number of processes at once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import WriteError

from ml.database.client import connect, database_of
from ml.database.indexes import INDEXES, SHAPE_VERSION, NewerDatabase, prepare
from ml.jobs.requests import names_a_tag
from ml.jobs.rows import cursor_over


def test_the_guaranteed_indexes_are_there(client: Any) -> None:
    db = database_of(client)
    prepare(db)
    keys = {name: [list(index["key"]) for index in db[name].index_information().values()] for name in INDEXES}
    assert [("owner", 1), ("tags", 1), ("model", 1), ("source", 1)] in keys["inputs"]
    for wanted in (
        [("input", 1)],
        [("job", 1), ("input", 1)],
        [("model", 1), ("version", 1), ("_created", -1)],
        [("owner", 1), ("_created", -1)],
    ):
        assert wanted in keys["results"]
    assert [("status", 1), ("priority", -1), ("_created", 1)] in keys["jobs"]


def test_a_changed_index_is_left_as_it_is(client: Any) -> None:
    """Eve would drop and build it anew at every start of every process."""
    db = database_of(client)
    db["results"].drop_index("input")
    db["results"].create_index([("input", 1), ("version", 1)], name="input")
    prepare(db)
    assert list(db["results"].index_information()["input"]["key"]) == [("input", 1), ("version", 1)]
    db["results"].drop_index("input")
    prepare(db)
    assert list(db["results"].index_information()["input"]["key"]) == [("input", 1)]


def test_many_processes_at_once_on_an_empty_database(client: Any, mongod: str) -> None:
    db = database_of(client)
    for name in [*INDEXES, "meta"]:
        db.drop_collection(name)
    errors: list[BaseException] = []
    barrier = threading.Barrier(6)

    def start() -> None:
        other = connect(mongod)
        try:
            barrier.wait()
            prepare(database_of(other))
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
        finally:
            other.close()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert set(db["results"].index_information()) == {"_id_", *(i.document["name"] for i in INDEXES["results"])}


@pytest.mark.parametrize("document", [{"x": 1}, {"_id": "text", "data": [1]}, {"_id": 7, "data": [1]}])
def test_an_input_without_data_or_with_another_id_is_refused_by_the_database(
    client: Any, document: dict[str, Any]
) -> None:
    inputs = database_of(client)["inputs"]
    with pytest.raises(WriteError):
        inputs.insert_one(document)
    inputs.insert_one({"_id": ObjectId(), "data": [1]})


def test_a_newer_shape_of_documents_stops_the_start(client: Any) -> None:
    db = database_of(client)
    db["meta"].update_one({"_id": "shape"}, {"$set": {"version": SHAPE_VERSION + 1}}, upsert=True)
    try:
        with pytest.raises(NewerDatabase, match="start the newer Almanac"):
            prepare(db)
    finally:
        db["meta"].update_one({"_id": "shape"}, {"$set": {"version": SHAPE_VERSION}})


def test_an_index_that_nothing_uses_any_more_is_dropped(client: Any) -> None:
    inputs = database_of(client)["inputs"]
    inputs.create_index([("tags", 1)], name="tags")
    prepare(database_of(client))
    assert "tags" not in inputs.index_information()
    assert "tags_id_source_owner" in inputs.index_information()


def test_a_job_over_a_tag_reads_nothing_else(client: Any) -> None:
    db = database_of(client)
    db["inputs"].insert_many([{"data": [1.0], "tags": ["a" if n % 50 else "b"]} for n in range(500)])
    job = {"_id": ObjectId(), "where": {"tags": "b"}, "scope": {}}
    for after, rows in ((None, 10), (ObjectId(b"\xff" * 12), 0)):
        ran = cursor_over(db, job, after, {"data": True}).explain()["executionStats"]
        assert (ran["nReturned"], ran["totalDocsExamined"]) == (rows, rows)
        ran = cursor_over(db, job, after, {"_id": True}).explain()["executionStats"]
        assert (ran["nReturned"], ran["totalDocsExamined"]) == (rows, 0), "the index alone tells ids"


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ({"tags": "a"}, True),
        ({"tags": {"$eq": "a"}, "meta.n": 1}, True),
        ({"$and": [{"meta.n": 1}, {"tags": "a"}]}, True),
        ({"tags": {"$ne": "a"}}, False),
        ({"tags": {"$in": ["a", "b"]}}, False),
        ({"$or": [{"tags": "a"}, {"tags": "b"}]}, False),
        ({"tags": None}, False),
        ({}, False),
    ],
)
def test_a_filter_that_names_a_tag(where: dict[str, Any], named: bool) -> None:
    assert names_a_tag(where) is named
