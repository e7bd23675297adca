"""Who did what to which document: an entry with each write, or neither; refusals are counted, and bounded.

That every route which writes leaves one entry, whoever asks, is in test_ownership_matrix.py.
"""

from __future__ import annotations

import base64
import getpass
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from click.testing import CliRunner
from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError

from api import create_app
from api.resources import RESOURCES
from cli import group, logs
from ml.audit.entries import Entry, commanded
from ml.audit.refusals import MOST_KINDS, Refusal, Refusals
from ml.catalog import Catalog
from ml.database.client import connect, database_of
from ml.database.transactions import transact
from ml.identity.keys import create_key
from ml.jobs import requests as job_requests
from settings import Settings
from tests.conftest import ADMIN_KEY, Api
from tests.integration.rest import ROW, URL, Client, stored
from tests.waiting import until

ANY = {"If-Match": "*"}
PASSWORD = "four violet otters juggle"


def entries(client: Client, **wanted: Any) -> list[dict[str, Any]]:
    """The entries of the audit in the order in which they came, without what is different each time."""
    found = database_of(client)["audit"].find(wanted).sort("_id", 1)
    return [{name: value for name, value in entry.items() if name[0] != "_"} for entry in found]


@pytest.fixture
def keyed(client: Client, tmp_path: Path) -> Any:
    """An app that knows keys and users."""
    app = create_app(Settings(data_dir=tmp_path, admin_key=ADMIN_KEY, _env_file=None), client)
    yield Api(app.test_client())
    app.extensions["service"].close()


def test_an_entry_says_who_did_what_from_where_by_which_request(keyed: Api, client: Client) -> None:
    key, token = create_key(database_of(client), "user", "alice")
    alice = keyed.as_caller(token)
    sent = {"headers": {"X-Request-ID": "r-1"}, "environ_overrides": {"REMOTE_ADDR": "192.0.2.7"}}
    made = alice.post("inputs", json={"data": ROW, "tags": ["secret-tag"]}, **sent).json["_id"]
    by = {"owner": "alice", "role": "user", "via": "key", "key": token[:8], "id": key["_id"]}
    common = {"resource": "inputs", "by": by, "address": "192.0.2.7", "request": "r-1", "count": 1, "owner": "alice"}
    create = {"action": "create", "status": 201, "documents": [ObjectId(made)], **common}
    assert entries(client) == [create]
    assert alice.patch(f"inputs/{made}", json={"tags": ["b"], "meta": {"a": 1}}, **with_any(sent)).status_code == 200
    assert keyed.delete(f"inputs/{made}", **with_any(sent)).status_code == 204
    change = {"action": "change", "status": 200, "documents": [ObjectId(made)], "changed": ["meta", "tags"], **common}
    root = {"owner": "admin", "role": "admin", "via": "administrator's key"}
    delete = {"action": "delete", "status": 204, "documents": [ObjectId(made)], **common, "by": root}
    assert entries(client) == [create, change, delete]


def with_any(sent: dict[str, Any]) -> dict[str, Any]:
    return {**sent, "headers": {**sent["headers"], **ANY}}


def test_a_list_is_one_entry_with_a_range(api: Api, client: Client) -> None:
    answer = api.post("inputs", json=[{"data": [n]} for n in range(1000)])
    ids = [ObjectId(item["_id"]) for item in answer.json["_items"]]
    [entry] = entries(client)
    assert (entry["count"], entry["documents"], entry["last"]) == (1000, ids[:10], ids[-1])
    # Which entry tells of one between.
    where = {"documents": {"$lte": str(ids[500])}, "last": {"$gte": str(ids[500])}}
    assert len(api.get("audit", query_string={"where": str(where).replace("'", '"')}).json["_items"]) == 1


def test_keys_of_several_owners_are_an_entry_each(keyed: Api, client: Client) -> None:
    asked = [{"role": "user", "owner": owner} for owner in ("alice", "bob", "alice")]
    made = keyed.post("keys", json=asked).json["_items"]
    told = {entry["owner"]: entry["documents"] for entry in entries(client)}
    ids = [ObjectId(item["_id"]) for item in made]
    assert told == {"alice": [ids[0], ids[2]], "bob": [ids[1]]}


def test_an_alias_that_moves_tells_of_both_versions(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    first, second = serve(version=1, aliases={"stable": 1}), serve(version=2, aliases={"stable": 1})
    assert api.patch(f"models/{second['_id']}", json={"aliases": ["stable"]}, headers=ANY).status_code == 200
    [entry] = entries(client)
    assert (entry["documents"], entry["changed"]) == ([second["_id"], first["_id"]], ["aliases"])
    assert api.delete(f"models/{first['_id']}", headers=ANY).status_code == 204
    assert [entry["action"] for entry in entries(client)] == ["change", "retire"]


def test_an_alias_that_waited_for_the_build_is_told_when_it_moves(api: Api, client: Client) -> None:
    data = {"name": "m", "aliases": "stable", "file": (io.BytesIO(b"no model"), "m.keras")}
    model = ObjectId(api.as_caller("editor:eve").post("models", data=data).json["_id"])
    database_of(client)["models"].update_one({"_id": model}, {"$set": {"build": {"claim": "c"}}})
    assert Catalog(database_of(client)).available(model, "c", {})
    registered, moved = entries(client)
    assert (registered["action"], registered["by"]["owner"]) == ("register", "eve")
    assert (moved["by"], moved["changed"]) == ({"owner": "eve", "via": "build"}, ["aliases"])
    assert (moved["documents"], moved["owner"]) == ([model], "eve")


def test_of_a_user_the_names_of_fields_alone_are_told(keyed: Api, client: Client) -> None:
    made = keyed.post("users", json={"name": "bob", "role": "user", "password": PASSWORD}).json["_id"]
    assert keyed.patch(f"users/{made}", json={"password": PASSWORD + "!"}, headers=ANY).status_code == 200
    create, change = entries(client)
    assert (create["owner"], change["owner"], change["changed"]) == ("bob", "bob", ["password"])
    assert PASSWORD not in str(entries(client))


def test_what_is_refused_or_does_not_fit_is_no_write(api: Api, client: Client) -> None:
    made = api.post("inputs", json={"data": ROW}).json["_id"]
    for code, answer in (
        (422, api.post("inputs", json=[{"data": ROW}, {"data": None}])),
        (412, api.patch(f"inputs/{made}", json={"tags": []}, headers={"If-Match": "old"})),
        (428, api.delete(f"inputs/{made}")),
        (404, api.delete(f"inputs/{ObjectId()}", headers=ANY)),
        (404, api.post("jobs", json={"model": "none"})),
        (200, api.patch(f"inputs/{made}", json={}, headers=ANY)),
    ):
        assert answer.status_code == code, answer.text
    assert len(entries(client)) == 1


def test_a_request_that_is_sent_again_is_told_once(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    for _ in range(2):
        assert api.post("inputs", json={"data": ROW}, headers={"Idempotency-Key": "a"}).status_code == 201
        later = {"Idempotency-Key": "b", "Prefer": "respond-async"}
        assert api.post(URL, json={"instances": [ROW]}, headers=later).status_code == 202
    assert [entry["resource"] for entry in entries(client)] == ["inputs", "jobs"]


WRITES: dict[str, Callable[[Api, dict[str, Any]], Any]] = {
    "an input": lambda api, ids: api.post("inputs", json={"data": ROW}),
    "two inputs": lambda api, ids: api.post("inputs", json=[{"data": ROW}, {"data": ROW}]),
    "a change": lambda api, ids: api.patch(f"inputs/{ids['inputs']}", json={"tags": ["b"]}, headers=ANY),
    "a delete": lambda api, ids: api.delete(f"inputs/{ids['inputs']}", headers=ANY),
    "a job": lambda api, ids: api.post("jobs", json={"model": "sums"}),
    "a job's change": lambda api, ids: api.patch(f"jobs/{ids['jobs']}", json={"status": "canceled"}, headers=ANY),
    "a prediction for later": lambda api, ids: api.post(
        URL, json={"instances": [ROW]}, headers={"Prefer": "respond-async"}
    ),
    "a model": lambda api, ids: api.post("models", data={"name": "m", "file": (io.BytesIO(b"no"), "m.keras")}),
    "an alias": lambda api, ids: api.patch(f"models/{ids['models']}", json={"aliases": ["a"]}, headers=ANY),
    "a retirement": lambda api, ids: api.delete(f"models/{ids['models']}", headers=ANY),
    "a key": lambda api, ids: api.post("keys", json={"role": "user", "owner": "eve"}),
    "another key": lambda api, ids: api.post(f"keys/{ids['keys']}/rotate"),
    "a key's end": lambda api, ids: api.delete(f"keys/{ids['keys']}", headers=ANY),
    "a secret": lambda api, ids: api.post("webhooks/secret"),
}


@pytest.mark.parametrize("write", WRITES)
def test_what_cannot_be_told_is_not_done(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    db = database_of(client)
    ids = {"models": serve()["_id"], "keys": create_key(db, "user", "eve")[0]["_id"]}
    ids |= {"inputs": api.post("inputs", json={"data": ROW}).json["_id"]}
    ids |= {"jobs": api.post("jobs", json={"model": "sums"}).json["_id"]}
    api.get("webhooks/secret")

    def everything() -> Any:
        names = sorted({*RESOURCES, "webhook_secrets"})
        return {name: stored(client, name) for name in names}

    before = everything()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise AutoReconnect("the database went away")

    monkeypatch.setattr(Entry, "document", fail)
    answer = WRITES[write](api, ids)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert everything() == before


def test_a_job_that_a_dead_worker_holds_is_changed(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    job = api.post("jobs", json={"model": "sums"}).json["_id"]
    jobs = database_of(client)["jobs"]
    monkeypatch.setattr(job_requests, "WAIT_MS", 50)
    with client.start_session() as dead:
        jobs.update_one({}, {"$set": {"sessions": [dead.session_id]}})
        dead.start_transaction()
        jobs.update_one({}, {"$inc": {"progress.done": 1}}, session=dead)
        began = time.monotonic()
        assert api.patch(f"jobs/{job}", json={"priority": 9}, headers=ANY).status_code == 200
    assert time.monotonic() - began < 10
    assert (stored(client, "jobs")[0]["priority"], stored(client, "jobs")[0]["progress"]["done"]) == (9, 0)
    assert len(entries(client, action="change")) == 1


def test_a_database_that_is_away_is_told_at_once() -> None:
    client = connect("mongodb://127.0.0.1:1", server_selection_ms=100)
    began = time.monotonic()
    with pytest.raises(ServerSelectionTimeoutError):
        transact(client, lambda session: database_of(client)["x"].insert_one({}, session=session), patient=False)
    assert time.monotonic() - began < 5
    client.close()


def test_nobody_writes_it_over_rest(api: Api, client: Client) -> None:
    api.post("inputs", json={"data": ROW})
    [entry] = stored(client, "audit")
    for method in ("post", "put", "patch", "delete"):
        assert getattr(api, method)("audit", json={"action": "create"}, headers=ANY).status_code == 405
        assert getattr(api, method)(f"audit/{entry['_id']}", json={"action": "x"}, headers=ANY).status_code == 405
    assert stored(client, "audit") == [entry]
    assert api.get(f"audit/{entry['_id']}").json["action"] == "create"
    assert [e["_id"] for e in api.get('audit?where={"by.owner":"admin"}&sort=-_created').json["_items"]] == [
        str(entry["_id"])
    ]
    for token in ("reader:a", "user:a", "editor:a"):
        assert api.as_caller(token).get("audit").status_code == 403


def refused(client: Client, service: Any) -> list[dict[str, Any]]:
    service.refusals.close()
    return entries(client, action="refuse")


def test_refusals_are_counted_by_who_and_from_where(keyed: Api, client: Client) -> None:
    db = database_of(client)
    key, token = create_key(db, "reader", "alice")
    keyed.post("users", json={"name": "bob", "role": "user", "password": PASSWORD})
    basic = [base64.b64encode(f"{name}:wrong".encode()).decode() for name in ("bob", "typed-password")]
    for number in range(3):
        there = {"environ_overrides": {"REMOTE_ADDR": "192.0.2.7"}, "headers": {"X-Request-ID": f"r-{number}"}}
        assert keyed.as_caller(token).post("inputs", json={"data": ROW}, **there).status_code == 403
        assert keyed.as_caller(None).get("inputs", **there).status_code == 401
        assert keyed.as_caller("alm_" + "x" * 43).get("nothing/here", **there).status_code == 401
    for one in basic:
        assert keyed.as_caller(None).get("inputs", headers={"Authorization": f"Basic {one}"}).status_code == 401
    found = refused(client, keyed.http.application.extensions["service"])
    by_status: dict[Any, list[dict[str, Any]]] = {}
    for entry in found:
        by_status.setdefault((entry["status"], entry["by"]["via"], entry.get("owner")), []).append(entry)
    assert by_status.keys() == {
        (403, "key", None), (401, "key", None), (401, "nothing", None), (401, "password", "bob"),
        (401, "password", None),
    }  # fmt: skip
    reader = by_status[403, "key", None]
    assert sum(entry["count"] for entry in reader) == 3
    assert reader[0]["by"] == {
        "owner": "alice", "role": "reader", "via": "key", "key": token[:8], "id": key["_id"]
    }  # fmt: skip
    assert (reader[0]["target"], reader[0]["address"]) == ("POST /api/v1/inputs", "192.0.2.7")
    assert reader[0]["request"] == "r-0"
    assert "target" not in by_status[401, "key", None][0]
    assert "typed-password" not in str(stored(client, "audit"))
    assert all("expires" in entry for entry in found)


def test_a_limit_that_is_reached_before_flask_is_told(
    client: Client, make_api: Callable[..., Api], serve: Callable[..., Any]
) -> None:
    serve()
    api = make_api(client, rate_limit="3/hour").as_caller("user:eve")
    codes = [api.post(URL, json={"instances": [ROW]}).status_code for _ in range(6)]
    assert codes == [200, 200, 200, 429, 429, 429]
    found = refused(client, api.http.application.extensions["service"])
    assert sum(entry["count"] for entry in found) == 3
    assert {(e["by"]["owner"], e["target"]) for e in found} == {("eve", "POST /api/v1/models/{name}/predict")}


def refusal(address: str = "192.0.2.1", **by: Any) -> Refusal:
    return Refusal(401, address, {"via": "key", **by}, "r")


def test_the_first_of_a_kind_is_written_at_once_and_those_after_it_together(client: Client) -> None:
    refusals = Refusals(database_of(client), window=0.5, period=0.02)
    for _ in range(3):
        refusals.note(refusal())
    until(lambda: entries(client))
    for _ in range(40):
        refusals.note(refusal())
    assert until(lambda: len(entries(client)) == 2)
    refusals.close()
    counts = [entry["count"] for entry in entries(client)]
    assert (sum(counts), len(counts)) == (43, 2)
    assert "since" in entries(client)[1]


def test_no_crowd_fills_the_disk_or_hides_those_who_are_known(client: Client) -> None:
    refusals = Refusals(database_of(client))
    for number in range(10_000):
        refusals.note(refusal(f"192.0.{number // 256}.{number % 256}"))
    refusals.note(refusal(owner="alice"))
    refusals.close()
    found = entries(client)
    assert len(found) == MOST_KINDS + 2
    assert sum(entry["count"] for entry in found) == 10_001
    assert [entry["count"] for entry in found if entry["by"].get("owner") == "alice"] == [1]
    assert max(entry["count"] for entry in found) == 10_000 - MOST_KINDS


def test_what_cannot_be_written_yet_is_written_later(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = Refusals(database_of(client), period=0.02)
    real, failed = refusals._write, []

    def fail(due: Any) -> None:
        if due and len(failed) < 3:
            failed.append(len(due))
            raise AutoReconnect("away")
        real(due)

    monkeypatch.setattr(refusals, "_write", fail)
    for _ in range(5):
        refusals.note(refusal())
    until(lambda: entries(client))
    refusals.close()
    assert sum(entry["count"] for entry in entries(client)) == 5


def test_the_command_line_is_told_of(
    client: Client, mongod: str, serve: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "set_up", lambda settings: None)
    monkeypatch.setenv("ALMANAC_MONGO_URI", mongod)
    monkeypatch.setenv("ALMANAC_ADMIN_KEY", ADMIN_KEY)
    monkeypatch.setenv("ALMANAC_DATA_DIR", str(tmp_path / "data"))
    serve()
    run = CliRunner().invoke
    assert run(group, ["key", "create", "--role", "user", "--owner", "eve"]).exit_code == 0
    assert run(group, ["job", "submit", "--model", "sums", "--where", "{}"]).exit_code == 0
    [job] = stored(client, "jobs")
    assert run(group, ["job", "cancel", str(job["_id"])]).exit_code == 0
    assert run(group, ["erase", "--owner", "eve", "--yes"]).exit_code == 0
    found = entries(client)
    assert {str(entry["by"]) for entry in found} == {str(commanded("", None).by)}
    assert found[0]["by"] == {"role": "admin", "via": "command line", "user": getpass.getuser()}
    assert [(entry["action"], entry.get("resource")) for entry in found] == [
        ("create", "keys"), ("create", "jobs"), ("change", "jobs"), ("erase", None), ("erased", None)
    ]  # fmt: skip
    assert found[3]["count"] == found[4]["count"] == 1
    assert "eve" not in str(found)
