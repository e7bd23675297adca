"""An input that is deleted takes with it whatever was made of it, also what is being made just then."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import ObjectId
from click.testing import CliRunner

from cli import group, logs
from ml import store
from ml.audit.entries import commanded
from ml.database.client import database_of
from ml.erasure import inputs as erasure
from ml.identity.sessions import Proof, Sessions
from ml.jobs import commit
from ml.jobs.worker import Worker
from tests.conftest import ADMIN_KEY, Api
from tests.integration.rest import ROW, URL, Client, stored

ANY = {"If-Match": "*"}


def put(api: Api, *rows: Any) -> list[str]:
    return [
        item["_id"] for item in api.post("inputs", json=[{"data": row, "tags": ["t"]} for row in rows]).json["_items"]
    ]


def test_it_takes_its_results(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    mine, other = put(api, ROW, [4, 5, 6])
    assert api.post(URL, json={"inputs": [mine, other]}).status_code == 200
    assert api.post(URL, json={"inputs": [mine]}).status_code == 200
    assert len(stored(client, "results")) == 3
    assert api.delete(f"inputs/{mine}", headers=ANY).status_code == 204
    assert [str(result["input"]) for result in stored(client, "results")] == [other]
    assert [str(input_["_id"]) for input_ in stored(client, "inputs")] == [other]


def test_neither_goes_where_the_tag_is_old_or_it_is_anothers(
    api: Api, client: Client, serve: Callable[..., Any]
) -> None:
    serve()
    (input_,) = put(api, ROW)
    assert api.post(URL, json={"inputs": [input_]}).status_code == 200
    old = api.get(f"inputs/{input_}").json["_etag"]
    assert api.patch(f"inputs/{input_}", json={"tags": ["u"]}, headers={"If-Match": old}).status_code == 200
    assert api.delete(f"inputs/{input_}", headers={"If-Match": old}).status_code == 412
    assert api.as_caller("user:eve").delete(f"inputs/{input_}", headers=ANY).status_code == 404
    assert len(stored(client, "results")) == len(stored(client, "inputs")) == 1


def test_a_prediction_that_is_stored_meanwhile_goes_too(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    (input_,) = put(api, ROW)
    real = store.write_together

    def after_the_delete(*args: Any) -> None:
        assert erasure.erase_input(database_of(client), {}, ObjectId(input_))
        real(*args)

    monkeypatch.setattr(store, "write_together", after_the_delete)
    assert api.post(URL, json={"inputs": [input_]}).status_code == 200
    assert stored(client, "results") == []


def test_a_jobs_chunk_that_is_committed_meanwhile_goes_too(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    inputs = put(api, *([n, 0, 0] for n in range(20)))
    job = api.post("jobs", json={"model": "sums", "where": {"tags": "t"}}).json["_id"]
    real = commit.transact

    def after_the_delete(*args: Any) -> Any:
        for input_ in inputs[:5]:
            erasure.erase_input(database_of(client), {}, ObjectId(input_))
        return real(*args)

    monkeypatch.setattr(commit, "transact", after_the_delete)
    service = api.http.application.extensions["service"]
    Worker(database_of(client), service.registry, threading.Event()).run_pending()
    assert api.get(f"jobs/{job}").json["status"] == "succeeded"
    assert sorted(str(result["input"]) for result in stored(client, "results")) == sorted(inputs[5:])


def test_a_result_that_comes_within_the_delete_goes_too(
    api: Api, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored after the transaction began, which does not see it; and whoever stored it did not see its end."""
    (input_,) = put(api, ROW)
    db = database_of(client)
    real = erasure.transact

    def beside(*args: Any, **how: Any) -> Any:
        def work(session: Any) -> bool:
            done: bool = args[1](session)
            db["results"].insert_one({"input": ObjectId(input_)})
            erasure.take_back(db, [ObjectId(input_)])
            assert len(stored(client, "results")) == 1
            return done

        return real(args[0], work, **how)

    monkeypatch.setattr(erasure, "transact", beside)
    assert api.delete(f"inputs/{input_}", headers=ANY).status_code == 204
    assert stored(client, "results") == []


def everything(client: Client) -> bytes:
    """All documents of all collections, as BSON."""
    db = database_of(client)
    names = [name for name in db.list_collection_names() if not name.startswith("system.")]
    return b"".join(bson.encode(document) for name in sorted(names) for document in db[name].find())


def test_nothing_of_an_owner_is_left(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    serve(name="theirs", owner="eve-the-owner")
    eve, adam = api.as_caller("editor:eve-the-owner"), api.as_caller("editor:adam-the-owner")
    jobs = []
    for caller in (eve, adam):
        inputs = put(caller, *([n, 0, 0] for n in range(30)))
        assert caller.post(URL, json={"instances": [ROW]}, headers={"Idempotency-Key": "k"}).status_code == 200
        assert caller.post(URL, json={"inputs": inputs[:2]}).status_code == 200
        assert caller.get("webhooks/secret").status_code == 200
        file = {"content": (io.BytesIO(b"of " + caller.headers["Authorization"].encode()), "f")}
        assert caller.post("/v1/files", data=file).status_code == 201
        jobs.append(caller.post("jobs", json={"model": "sums", "where": {"tags": "t"}}).json["_id"])
    service = api.http.application.extensions["service"]
    Worker(database_of(client), service.registry, threading.Event()).run_pending()
    waiting = eve.post("jobs", json={"model": "sums", "where": {"tags": "t"}}).json["_id"]
    assert api.post("jobs", json={"model": "sums", "where": {"tags": "t"}}).status_code == 201  # over both owners' rows
    [theirs] = [input_ for input_ in stored(client, "inputs") if input_["owner"] == "eve-the-owner"][:1]
    assert api.patch(f"inputs/{theirs['_id']}", json={"tags": ["x", "t"]}, headers=ANY).status_code == 200
    before = everything(client)
    assert before.count(b"eve-the-owner") > 60
    assert database_of(client)["files.files"].count_documents({}) == 2
    key = {"role": "user", "owner": "eve-the-owner"}
    user = {"name": "eve-the-owner", "role": "user", "password": "four violet otters juggle"}
    assert (api.post("keys", json=key).status_code, api.post("users", json=user).status_code) == (201, 201)
    adams = before.count(b"adam-the-owner")
    # Of an upload that was never finished.
    database_of(client)["uploads.chunks"].insert_one({"files_id": ObjectId(), "n": 0, "owner": "eve-the-owner"})
    sessions = Sessions(database_of(client), "of the administrator")
    for id_ in (stored(client, "keys")[0]["_id"], stored(client, "users")[0]["_id"], kept := ObjectId()):
        sessions.begin(Proof("key", "digest", id_))

    entry = commanded("erase", None)
    erasure = service.erasure("eve-the-owner", entry)
    assert erasure.named() > 3
    assert erasure.left().keys() == {
        "models", "jobs", "inputs", "results", "idempotency", "webhook_secrets", "registry", "keys", "users",
        "uploads.files", "uploads.chunks",
    }  # fmt: skip
    next(erasure.run())  # and it is ended there
    gone = sum(step.documents for step in service.erasure("eve-the-owner", entry).run())
    assert gone > 60
    assert eve.get("keys").status_code == 403  # by a process that does not know yet that the key is gone
    service.refusals.close()

    after = everything(client)
    assert b"eve-the-owner" not in after
    assert ObjectId(waiting).binary not in after
    assert [session["proof"] for session in stored(client, "sessions")] == [kept]
    assert after.count(b"adam-the-owner") == adams
    assert database_of(client)["files.files"].count_documents({}) == 1
    assert (service.erasure("eve-the-owner").left(), service.erasure("eve-the-owner").named()) == ({}, 0)
    audit = stored(client, "audit")
    nobody = {entry["owner"] for entry in audit if entry["action"] == "erased"}
    assert len(nobody) == 1
    assert [(entry["by"]["via"], entry["count"] > 60) for entry in audit if entry["action"] == "erase"] == [
        ("command line", True), ("command line", True)
    ]  # fmt: skip
    did = [entry for entry in audit if entry["by"].get("owner") in nobody]
    assert {(entry["action"], entry["resource"]) for entry in did} >= {("create", "inputs"), ("create", "jobs")}
    assert not [entry for entry in did if entry.keys() & {"address", "request", "documents", "last"}]
    [changed] = [entry for entry in audit if entry["by"].get("owner") == "admin" and entry["action"] == "change"]
    assert (changed["owner"] in nobody, "documents" in changed, "address" in changed) == (True, False, True)
    [refused] = [entry for entry in audit if entry["action"] == "refuse"]
    assert (refused["by"]["owner"], refused["target"]) == ("erased", "GET /api/v1/keys")
    assert adam.get(f"jobs/{jobs[1]}").json["progress"]["done"] == 30
    assert len(adam.get("results?max_results=100").json["_items"]) == 33
    [file] = adam.get("/v1/files").json["results"]
    assert adam.get(file["urls"]["download"]).data == b"of Bearer editor:adam-the-owner"


def test_the_command_asks_and_says_what_it_did(
    api: Api, client: Client, mongod: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "set_up", lambda settings: None)
    monkeypatch.setenv("ALMANAC_MONGO_URI", mongod)
    monkeypatch.setenv("ALMANAC_ADMIN_KEY", ADMIN_KEY)
    monkeypatch.setenv("ALMANAC_DATA_DIR", str(tmp_path / "data"))
    put(api.as_caller("user:eve"), ROW, ROW)
    run = CliRunner().invoke
    asked = run(group, ["erase", "--owner", "eve"], input="n\n")
    assert (asked.exit_code, len(stored(client, "inputs"))) == (1, 2)
    assert "eve owns 2 in inputs" in asked.output
    assert "1 entries of the audit name eve" in asked.output
    done = run(group, ["erase", "--owner", "eve", "--yes"])
    assert (done.exit_code, stored(client, "inputs")) == (0, [])
    assert "2/2" in done.output
    assert done.output.endswith("2 documents of eve are gone\n")
    again = run(group, ["erase", "--owner", "eve", "--yes"])
    assert (again.exit_code, again.output) == (1, "almanac: there is nothing that 'eve' owns\n")
