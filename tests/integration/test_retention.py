"""Records that are too old go, by MongoDB's own hand; what is young or no record stays."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId

from ml import uploads
from ml.database.client import connect, database_of
from ml.database.embedded import EmbeddedMongo, process
from ml.database.indexes import prepare
from ml.erasure.retention import INDEX, RECORDS, Retention, keep_for, remove_unstamped
from ml.uploads import CHUNKS, FILES, KEPT, LINGER, Uploads
from tests.integration.rest import Client
from tests.waiting import until


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A database of its own that looks for what is too old every second, rather than every minute."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(process, "PARAMETERS", (*process.PARAMETERS, "ttlMonitorSleepSecs=1"))
        embedded = EmbeddedMongo(tmp_path_factory.mktemp("quick"))
        try:
            with connect(embedded.start()) as client:
                yield database_of(client)
        finally:
            embedded.stop()


def aged(days: float, **fields: Any) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(days=days)
    id_ = ObjectId(ObjectId.from_datetime(at).binary[:4] + ObjectId().binary[4:])
    return {"_id": id_, "_created": at, "_updated": at, "data": [1], **fields}


def test_what_is_older_goes_and_nothing_else(quick: Any) -> None:
    for name in RECORDS:
        quick[name].insert_many([aged(days, status="succeeded", resource="inputs") for days in (8, 6)])
    quick["audit"].insert_one(aged(100, resource="keys"))
    quick["jobs"].insert_one(aged(8, status="running"))
    quick["models"].insert_one(aged(100, name="old", version=1))
    quick["inputs"].insert_one({"_id": aged(9)["_id"], "data": [1], "tags": ["without stamps"]})
    quick["inputs"].insert_one({"_id": aged(5)["_id"], "data": [1], "tags": ["without stamps"]})
    retention = Retention(quick, 7)
    retention.start()
    left = {"inputs": 2, "results": 1, "deliveries": 1, "jobs": 2, "models": 1, "audit": 2}
    until(lambda: {name: quick[name].count_documents({}) for name in left} == left)
    retention.close()
    assert quick["jobs"].count_documents({"status": "running"}) == 1


def test_files_and_the_chunks_of_unfinished_ones_go_when_they_have_expired(
    quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(quick)
    for name in (FILES, CHUNKS):
        quick[name].delete_many({})
    store = Uploads(quick)
    kept = put(store)
    a_day_ago = datetime.now(UTC) - KEPT
    for ago in (timedelta(0), LINGER):  # the chunks of the first stay for a little while
        monkeypatch.setattr(uploads, "now", lambda ago=ago: a_day_ago - ago)
        put(store)
    store._write(io.BytesIO(b"x"), ObjectId(), "eve", a_day_ago - LINGER)
    until(lambda: (quick[FILES].count_documents({}), quick[CHUNKS].count_documents({})) == (1, 2))
    monkeypatch.undo()
    assert [(file["_id"], store.content(file)) for file in store.newest({}, 9)] == [(kept["_id"], b"some")]


def put(store: Uploads) -> Any:
    return store.put(io.BytesIO(b"some"), owner="eve", name="n", content_type="text/plain")


def test_an_index_over_other_records_is_made_anew(client: Client) -> None:
    db = database_of(client)
    keep_for(db, 30)
    field, which = RECORDS["audit"]
    db["audit"].drop_index(INDEX)
    former = {"partialFilterExpression": {"resource": "inputs"}}
    db["audit"].create_index([(field, 1)], name=INDEX, expireAfterSeconds=30 * 86_400, **former)
    keep_for(db, 30)
    assert db["audit"].index_information()[INDEX]["partialFilterExpression"] == which
    keep_for(db, None)


def test_it_can_be_changed_and_unset(client: Client) -> None:
    db = database_of(client)

    def seconds() -> list[Any]:
        return [db[name].index_information().get(INDEX, {}).get("expireAfterSeconds") for name in RECORDS]

    keep_for(db, 30)
    keep_for(db, 30)
    assert seconds() == [30 * 86_400] * len(RECORDS)
    keep_for(db, 0.5)
    assert seconds() == [43_200] * len(RECORDS)
    keep_for(db, None)
    keep_for(db, None)
    assert seconds() == [None] * len(RECORDS)


def test_inputs_without_stamps_go_by_their_ids(client: Client) -> None:
    db = database_of(client)
    db["inputs"].insert_many([{"_id": aged(days)["_id"], "data": [1]} for days in (1, 2, 3, 4)])
    assert remove_unstamped(db, 2.5) == 2
    assert remove_unstamped(db, 2.5) == 0
