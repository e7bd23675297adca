"""The doctor on a real database: nothing to say of one that is well, and a finding for each thing that is broken."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo import IndexModel
from pymongo.database import Database

from ml.database.blobs import Blobs
from ml.database.client import connect, database_of
from ml.database.indexes import SHAPE_VERSION, prepare
from ml.doctor import database, examination, indexes
from ml.doctor.executors import Here
from ml.doctor.findings import Finding

HERE = Here({"stub": None, "onnx": None, "tf": "its process was ended by SIGILL"})
OLD = datetime.now(UTC) - timedelta(hours=3)
Db = Database[dict[str, Any]]


@pytest.fixture
def db(client: Any) -> Iterator[Db]:
    """Prepared before and after, also where a test has taken something away."""
    db = database_of(client)
    prepare(db)
    yield db
    for name in ("deliveries", "inputs", "jobs", "meta", "results"):
        db.drop_collection(name)
    prepare(db)


def look(db: Db, here: Here = HERE) -> list[Finding]:
    found = list(examination.of_database(db, here))
    assert all((one.advice is None) == (one.level == "ok") for one in found)
    return found


def bad(db: Db, here: Here = HERE) -> list[tuple[str, str, str]]:
    """What is not ok."""
    return [(one.level, one.about, one.found) for one in look(db, here) if one.level != "ok"]


def only(db: Db, here: Here = HERE) -> tuple[str, str, str]:
    (one,) = bad(db, here)
    return one


def said(db: Db, about: str) -> str:
    (one,) = [one.found for one in look(db) if one.about == about]
    return one


def put(db: Db, data: bytes = b"x" * 600_000) -> ObjectId:
    """A file of three chunks."""
    return Blobs(db).put(io.BytesIO(data), "file")


def test_all_is_well(db: Db, serve: Callable[..., Any]) -> None:
    serve(aliases={"stable": 1})
    serve(version=2, aliases={"stable": 1})
    serve(name="gone", state="retired")
    db["jobs"].insert_one({"status": "queued", "_created": datetime.now(UTC)})
    before = {name: db[name].count_documents({}) for name in db.list_collection_names()}
    assert bad(db) == []
    assert said(db, "model sums") == "2 available"
    assert said(db, "alias stable of sums") == "version 1"
    assert said(db, "model files") == "those of 2 versions are whole"
    assert said(db, "jobs") == "1 queued, 0 running"
    assert said(db, "document shape") == str(SHAPE_VERSION)
    assert said(db, "reading and writing").startswith("a majority had a document in its journal after ")
    assert {name: db[name].count_documents({}) for name in db.list_collection_names()} == before


def test_an_index_that_is_missing_is_made_by_the_next_start(db: Db) -> None:
    db["results"].drop_index("input")
    db["results"].drop_index("owner_created")
    assert only(db) == ("WRONG", "indexes of results", "missing: input, owner_created")
    prepare(db)
    assert bad(db) == []


def test_an_index_that_is_another(db: Db) -> None:
    results = db["results"]
    results.drop_index("input")
    results.create_index([("input", 1), ("version", 1)], name="input")
    results.drop_index("job_input")
    results.create_index([("job", 1), ("input", 1)], name="job_input")
    results.drop_index("owner_created")
    results.create_index([("owner", 1), ("_created", -1)], name="mine")
    told = [found for level, about, found in bad(db) if (level, about) == ("WRONG", "indexes of results")]
    assert told == [
        "input is another than it should be: {'input': 1, 'version': 1} instead of {'input': 1}",
        "job_input is another than it should be: {'job': 1, 'input': 1} instead of "
        "{'job': 1, 'input': 1} {'partialFilterExpression': {'job': {'$exists': True}}}",
        "owner_created is there by the name mine, and so the start of a server fails",
    ]


def test_an_index_that_is_not_finished() -> None:
    wanted = IndexModel([("a", 1)], name="a")
    present = {"v": 2, "key": {"a": 1}, "name": "a"}
    assert not list(indexes.differences("c", [wanted], [present]))
    (found,) = indexes.differences("c", [wanted], [{**present, "buildUUID": 1}])
    assert found.found == "a is not finished"


def test_the_validator_is_missing(db: Db) -> None:
    db.drop_collection("inputs")
    assert ("WRONG", "validator on inputs", "the collection inputs is not there") in bad(db)
    db.create_collection("inputs")
    assert (
        "WRONG",
        "validator on inputs",
        "missing, so that other programs can store what can never be scored",
    ) in bad(db)
    db.drop_collection("inputs")
    db.create_collection("inputs", validator={"data": 1})
    assert ("WRONG", "validator on inputs", "another than it should be: {'data': 1}") in bad(db)


def test_a_database_that_nobody_prepared_is_left_as_it_is(db: Db) -> None:
    other = db.client.get_database("almanac")
    for name in other.list_collection_names():
        other.drop_collection(name)
    told = bad(db)
    assert ("WRONG", "document shape", "no Almanac has prepared the database 'almanac' yet") in told
    missing = "missing: status_priority_created, owner_created, outbox, deadlines, owner_predictions, predictions"
    assert ("WRONG", "indexes of jobs", missing) in told
    assert ("warning", "reading and writing", "not tried, as there is no collection for it yet") in told
    assert other.list_collection_names() == []


@pytest.mark.parametrize(
    ("version", "found"),
    [
        (SHAPE_VERSION + 1, f"{SHAPE_VERSION + 1}, and this Almanac knows shapes up to {SHAPE_VERSION}"),
        ("one", "the document 'shape' of the collection meta says 'one'"),
    ],
)
def test_another_shape_of_documents(db: Db, version: Any, found: str) -> None:
    db["meta"].update_one({"_id": "shape"}, {"$set": {"version": version}})
    assert only(db) == ("WRONG", "document shape", found)


def test_a_write_that_does_not_come_through(db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WRITE_SECONDS", 1e-6)
    level, about, found = only(db)
    assert (level, about) == ("WRONG", "reading and writing")
    assert found.startswith("could not be looked at: ")


def test_a_clock_that_is_off(db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    class Behind(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) - timedelta(seconds=90)

    monkeypatch.setattr(database, "datetime", Behind)
    level, about, found = only(db)
    assert (level, about) == ("warning", "clock")
    assert found.startswith(("the database's is 90.", "the database's is 89.9"))
    assert found.endswith("s ahead of this machine's")


def test_a_file_of_a_model_that_is_not_whole(db: Db, serve: Callable[..., Any]) -> None:
    model = serve(aliases={"stable": 1})
    file = put(db)
    db["models"].update_one({"_id": model["_id"]}, {"$set": {"artefacts.onnx": file}})
    assert bad(db) == []
    about, its = "model sums:1", f"its artefacts.onnx in GridFS ({file})"
    last = db["files.chunks"].find_one({"files_id": file, "n": 2})
    assert last is not None

    db["files.chunks"].update_one({"_id": last["_id"]}, {"$set": {"data": last["data"][:-1]}})
    assert only(db) == ("WRONG", about, f"{its} does not end where it should, at 600000 bytes")
    db["files.chunks"].delete_one({"_id": last["_id"]})
    assert only(db) == ("WRONG", about, f"{its} has 2 of 3 chunks")
    db["files.files"].update_one({"_id": file}, {"$unset": {"length": 1}})
    assert only(db) == ("WRONG", about, f"{its} has no length")
    Blobs(db).delete(file)
    assert only(db) == ("WRONG", about, f"{its} is not there")

    db["models"].update_one({"_id": model["_id"]}, {"$unset": {"artefacts": 1}})
    assert ("WRONG", about, "it is available and has no artefact") in bad(db)


def test_an_upload_that_is_gone_is_missed_only_where_it_is_to_be_built(db: Db, serve: Callable[..., Any]) -> None:
    model = serve()
    db["models"].update_one({"_id": model["_id"]}, {"$set": {"file": ObjectId()}})
    level, about, found = only(db)
    assert (level, about) == ("warning", "model sums:1")
    assert found.endswith("is not there; it is served without")
    db["models"].update_one({"_id": model["_id"]}, {"$set": {"state": "loading"}})
    assert [level for level, *_ in bad(db)] == ["WRONG"]
    db["models"].update_one({"_id": model["_id"]}, {"$unset": {"file": 1}})
    assert only(db) == ("WRONG", "model sums:1", "it is to be built and has no file")


def test_versions_that_nobody_asks_for_may_have_lost_their_files(db: Db, serve: Callable[..., Any]) -> None:
    serve(version=1)
    serve(version=2)
    db["models"].update_one({"version": 1}, {"$set": {"artefacts.stub": ObjectId()}})
    db["files.files"].update_many({}, {"$set": {"uploadDate": datetime.now(UTC)}})
    assert bad(db) == []


def test_an_alias_that_leads_nowhere(db: Db, serve: Callable[..., Any]) -> None:
    serve(aliases={"stable": 1})
    db["registry"].update_one({"_id": "sums"}, {"$set": {"aliases.stable": 7}})
    assert only(db) == (
        "WRONG", "alias stable of sums", "it means version 7, which is not there: who asks for it gets an error",
    )  # fmt: skip
    serve(version=2, state="failed", aliases={"stable": 2})
    assert ("WRONG", "alias stable of sums") in [(level, about) for level, about, _ in bad(db)]
    for nonsense in ([1], {"a": 1}, None, "1"):
        db["registry"].update_one({"_id": "sums"}, {"$set": {"aliases.stable": nonsense}})
        assert f"it means version {nonsense!r}, which is not there" in str(bad(db))


def test_a_counter_that_lags(db: Db, serve: Callable[..., Any]) -> None:
    serve(version=3)
    for query in ({"$set": {"next_version": 2}}, {"$set": {"next_version": "x"}}, {"$unset": {"next_version": 1}}):
        db["registry"].update_one({"_id": "sums"}, query)
        level, about, found = only(db)
        assert (level, about) == ("WRONG", "model sums")
        assert found.endswith("and there is a version 3: the next cannot be registered")


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("tf", "it is run by tf, which does not run here: its process was ended by SIGILL"),
        ("coreml", "it is to be run by 'coreml', which is no executor of this Almanac"),
        (None, "it is to be run by None, which is no executor of this Almanac"),
    ],
)
def test_an_executor_that_is_not_here(db: Db, serve: Callable[..., Any], kind: Any, found: str) -> None:
    serve()
    made = {} if kind is None else {f"artefacts.{kind}": "$artefacts.stub"}
    db["models"].update_one({}, [{"$set": {"executor": kind, **made}}])
    assert only(db) == ("WRONG", "model sums:1", found)


def test_a_newest_version_that_failed(db: Db, serve: Callable[..., Any]) -> None:
    serve(version=1)
    serve(version=2, state="failed")
    db["models"].update_one({"version": 2}, {"$set": {"error": "it has a Lambda"}})
    assert only(db) == ("warning", "model sums", "its newest version 2 failed: it has a Lambda")
    serve(version=3)
    assert bad(db) == []


def test_a_version_that_nobody_builds(db: Db, serve: Callable[..., Any]) -> None:
    for version in (1, 2):
        serve(version=version, state="loading")
    db["models"].update_many({}, {"$set": {"file": put(db), "_updated": datetime.now(UTC)}})
    assert bad(db) == []  # a builder comes by soon
    db["models"].update_many({}, {"$set": {"_updated": OLD}})
    told = bad(db)
    assert told == [("WRONG", f"model sums:{version}", "it is to be built, and nobody builds it") for version in (1, 2)]
    db["models"].update_one({"version": 1}, {"$set": {"build.lease": datetime.now(UTC) + timedelta(seconds=20)}})
    assert bad(db) == []
    assert said(db, "model sums:1") == "it is being built"
    assert said(db, "model sums:2") == "it waits while another is being built"
    db["models"].update_one({"version": 1}, {"$set": {"build.lease": OLD}})
    assert bad(db) == told
    advice = [one.advice for one in look(db, Here(HERE.executors, "keras is not installed")) if one.level == "WRONG"]
    assert all(text is not None and "on a machine that can build" in text for text in advice)


def test_files_that_belong_to_nothing(db: Db, serve: Callable[..., Any]) -> None:
    retired = serve(state="retired")
    before = bad(db)
    file = put(db)
    assert before == bad(db) == []  # one that was just put may be on its way into a document
    db["files.files"].update_one({"_id": file}, {"$set": {"uploadDate": OLD}})
    assert only(db) == ("warning", "leftover files", f"1 files of 0.6 MB belong to no version: {file}")
    db["models"].update_one({"_id": retired["_id"]}, {"$set": {"elsewhere": [{"artefacts": {"onnx": file}}]}})
    assert bad(db) == []
    old = ObjectId.from_datetime(OLD)
    db["files.chunks"].insert_one({"files_id": old, "n": 0, "data": b"x" * 2_000_000})
    db["files.chunks"].insert_one({"files_id": ObjectId(), "n": 0, "data": b"x"})
    assert only(db) == ("warning", "leftover files", f"1 files of 2.0 MB belong to no version: {old}")


def test_jobs_that_nobody_runs(db: Db) -> None:
    now = datetime.now(UTC)
    lost = db["jobs"].insert_one({"status": "running", "lease": OLD, "_created": OLD}).inserted_id
    db["jobs"].insert_one({"status": "running", "lease": now - timedelta(seconds=20), "_created": OLD})
    assert only(db) == ("warning", "jobs", f"1 running ones lost their worker and nobody took them over: {lost}")
    db["jobs"].delete_many({})
    db["jobs"].insert_one({"status": "queued", "_created": OLD})
    assert only(db) == ("warning", "jobs", "1 wait for more than 60 s and no worker runs any")
    db["jobs"].insert_one({"status": "running", "lease": now + timedelta(seconds=15), "_created": OLD})
    assert bad(db) == []


#: What other programs may store where Almanac's documents are.
MANGLED: list[dict[str, Any]] = [
    {},
    {"name": "a"},
    {"name": 1, "version": "x", "state": None},
    {"name": "b", "version": 1, "state": "flying"},
    {"name": "c", "version": 1, "state": ["available"], "artefacts": 3},
    {"name": "d", "version": 2**62, "state": "available", "artefacts": [1], "executor": ["onnx"], "build": 3},
    {"name": "e", "version": -1, "state": "loading", "build": {"lease": "x"}, "file": "y", "_updated": {}},
    {"name": "f", "version": 1, "state": "failed", "error": {"a": 1}},
]


def test_whatever_is_stored_is_a_finding_and_no_traceback(db: Db, serve: Callable[..., Any]) -> None:
    serve(aliases={"stable": 1})
    db["models"].insert_many([dict(one) for one in MANGLED])
    db["jobs"].insert_many(
        [{}, {"status": 3}, {"status": "running", "lease": "x"}, {"status": "queued", "_created": []}]
    )
    db["registry"].insert_many(
        [{"_id": 3}, {"_id": "x", "aliases": [1]}, {"_id": "y", "aliases": {"": {}, "é": 2**40}, "next_version": {}}]
    )
    db["files.files"].insert_many([{}, {"_id": "x", "length": "y", "uploadDate": 3}])
    db["files.chunks"].insert_many([{}, {"files_id": {"a": 1}, "n": "x"}])
    told = bad(db)
    assert not [one for one in told if "could not be looked at" in one[2]]
    assert any(found.startswith("7 documents in models or registry are none of Almanac's") for *_, found in told)
    assert ("WRONG", "model d:4611686018427387904", "it is available and has no artefact") in told
    assert any(found.startswith("2 documents have no status that there is") for *_, found in told)
    assert said(db, "alias stable of sums") == "version 1"


def test_a_check_that_fails_is_a_finding_and_the_next_are_made(db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Iterator[Finding]:
        raise KeyError("x")
        yield

    monkeypatch.setattr(indexes, "examine", broken)
    assert only(db) == ("WRONG", "indexes", "could not be looked at: KeyError: 'x'")
    assert said(db, "jobs") == "0 queued, 0 running"


def test_a_database_that_cannot_be_reached() -> None:
    client = connect("mongodb://user:secret@127.0.0.1:1/x", server_selection_ms=200)
    (found,) = look(database_of(client))
    assert (found.level, found.about) == ("WRONG", "database")
    assert found.found.startswith("it cannot be reached: 127.0.0.1:1: ")
    assert "secret" not in str(found)


def test_a_user_that_is_not_let_in(mongod: str) -> None:
    head, _, tail = mongod.partition("@")
    with connect(f"{head}x@{tail}") as client:
        (found,) = look(database_of(client))
    assert found.level == "WRONG"
    assert found.found.startswith("it answers and does not let this user in: ")
