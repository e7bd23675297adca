"""`keys` over REST: made, shown once, changed, replaced, revoked; and no secret ever stored or shown."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest
from bson import ObjectId

from ml.database.client import database_of
from tests.conftest import Api
from tests.integration.identity.people import MATCH, make_key, status
from tests.integration.rest import NDJSON, ROW, Client
from tests.waiting import until

SHOWN = {"_id", "_created", "_updated", "_etag", "role", "owner", "prefix"}


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")


def stored_key(client: Client, made: dict[str, Any]) -> dict[str, Any]:
    return database_of(client)["keys"].find_one({"_id": ObjectId(made["_id"])}) or {}


def test_a_key_is_answered_once_and_never_stored(admin: Api, client: Client) -> None:
    answer = admin.post("keys", json={"role": "user", "owner": "alice", "description": "the scanner"})
    made = answer.json
    assert answer.headers["Location"].endswith(f"/api/v1/keys/{made['_id']}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert made.keys() == SHOWN | {"key", "description", "_status"}
    assert re.fullmatch(r"alm_[A-Za-z0-9_-]{43}", made["key"])
    assert made["prefix"] == made["key"][:8]
    assert status(admin.as_caller(made["key"])) == 200
    assert status(admin.as_caller(made["key"][:-1] + "~")) == 401

    shown = admin.get(f"keys/{made['_id']}").json
    assert shown.keys() == SHOWN | {"description"}
    changed = admin.patch(f"keys/{made['_id']}", json={"description": "gone"}, headers=MATCH).json
    everything = json.dumps([shown, changed]) + admin.get("keys").text + admin.get("keys", headers=NDJSON).text
    document = stored_key(client, made)
    assert made["key"] not in everything
    assert document["hash"] not in everything
    assert made["key"].encode() not in b"".join(bson.encode(d) for d in database_of(client)["keys"].find())


def test_secrets_can_neither_be_asked_for_nor_sent(admin: Api) -> None:
    path = f"keys/{make_key(admin)['_id']}"
    for field in ("hash", "former_hash", "key"):
        for query in ({"where": json.dumps({field: {"$gt": ""}})}, {"sort": field}, {"projection": f'{{"{field}":1}}'}):
            assert admin.get("keys", query_string=query).status_code == 400
        answer = admin.post("keys", json={"role": "user", "owner": "a", field: "x" * 64})
        assert (answer.status_code, list(answer.json["_issues"])) == (422, [field])
        assert admin.patch(path, json={field: "x" * 64}, headers=MATCH).status_code == 422


@pytest.mark.parametrize(
    ("fields", "issue"),
    [
        ({"role": "root"}, "role"),
        ({"role": None}, "role"),
        ({"owner": ""}, "owner"),
        ({"owner": " alice"}, "owner"),
        ({"owner": "a\nb"}, "owner"),
        ({"owner": "a" * 129}, "owner"),
        ({"owner": {"$gt": ""}}, "owner"),
        ({"models": []}, "models"),
        ({"models": "digits"}, "models"),
        ({"models": ["a/b"]}, "models[0]"),
        ({"role": "admin", "models": ["digits"]}, "models"),
        ({"expires": "tomorrow"}, "expires"),
        ({"expires": "2001-01-01T00:00:00Z"}, "expires"),
        ({"last_used": "2001-01-01T00:00:00Z"}, "last_used"),
        ({"prefix": "alm_abcd"}, "prefix"),
    ],
)
def test_what_is_no_key_is_named(admin: Api, client: Client, fields: dict[str, Any], issue: str) -> None:
    answer = admin.post("keys", json={"role": "user", "owner": "alice", **fields})
    assert (answer.status_code, list(answer.json["_issues"])) == (422, [issue])
    assert database_of(client)["keys"].count_documents({}) == 0


def test_several_are_made_at_once_or_none(admin: Api, client: Client) -> None:
    good = {"role": "user", "owner": "alice"}
    made = admin.post("keys", json=[good, {**good, "owner": "bob"}]).json["_items"]
    assert [status(admin.as_caller(key["key"])) for key in made] == [200, 200]
    assert admin.post("keys", json=[good, {**good, "role": "admin", "models": ["m"]}]).status_code == 422
    assert database_of(client)["keys"].count_documents({}) == 2


def test_role_and_owner_stay(admin: Api) -> None:
    path = f"keys/{make_key(admin)['_id']}"
    for change in ({"role": "admin"}, {"owner": "bob"}):
        answer = admin.patch(path, json=change, headers=MATCH)
        assert (answer.status_code, answer.json["_issues"]) == (422, dict.fromkeys(change, "cannot be changed"))


def test_a_revoked_key_stops_on_every_replica(admin: Api, replica: Callable[..., Api]) -> None:
    made, other = make_key(admin), replica()
    here, there = admin.as_caller(made["key"]), other.as_caller(made["key"])
    assert [status(here), status(there)] == [200, 200]
    assert admin.delete(f"keys/{made['_id']}", headers=MATCH).status_code == 204
    assert status(here) == 401
    until(lambda: status(there) == 401, 2)


def test_an_expired_key_stops_by_itself(admin: Api, client: Client, replica: Callable[..., Api]) -> None:
    made, other = make_key(admin, expires=in_an_hour()), replica()
    here, there = admin.as_caller(made["key"]), other.as_caller(made["key"])
    assert [status(here), status(there)] == [200, 200]
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    answer = admin.patch(f"keys/{made['_id']}", json={"expires": soon.isoformat()}, headers=MATCH)
    assert answer.status_code == 200
    until(lambda: status(here) == 401, 2)
    until(lambda: status(there) == 401, 2)
    # What ended can be given more time.
    assert admin.patch(f"keys/{made['_id']}", json={"expires": None}, headers=MATCH).status_code == 200
    assert status(here) == 200
    until(lambda: status(there) == 200, 2)


def test_a_replaced_key_lives_on_for_its_grace(admin: Api, replica: Callable[..., Api]) -> None:
    first, other = make_key(admin, models=["sums"]), replica()
    path = f"keys/{first['_id']}/rotate"
    assert status(other.as_caller(first["key"])) == 200
    answer = admin.post(path)
    second = answer.json
    assert answer.headers["Cache-Control"] == "no-store"
    assert second.keys() == SHOWN | {"key", "models", "former_until", "_status"}
    assert (second["_id"], second["owner"], second["models"]) == (first["_id"], "alice", ["sums"])
    assert second["key"] != first["key"]
    assert (answer.headers["ETag"], second["_etag"] != first["_etag"]) == (f'"{second["_etag"]}"', True)
    for app in (admin, other):
        assert [status(app.as_caller(key["key"])) for key in (first, second)] == [200, 200]
    third = admin.post(path, json={"grace_seconds": 0}).json
    for app in (admin, other):
        until(lambda app=app: [status(app.as_caller(key["key"])) for key in (first, second)] == [401, 401], 2)
        assert status(app.as_caller(third["key"])) == 200


def test_what_cannot_be_replaced(admin: Api) -> None:
    made = make_key(admin)
    path = f"keys/{made['_id']}/rotate"
    for grace in (-1, "1", None, True, 1e12):
        answer = admin.post(path, json={"grace_seconds": grace})
        assert (answer.status_code, list(answer.json["_issues"])) == (422, ["grace_seconds"])
    assert admin.post(path, json={"grace": 1}).status_code == 422
    assert admin.post(path, json=[]).status_code == 422
    assert admin.post(path + "?x=1").status_code == 400
    assert admin.post(path, data="{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert admin.post(f"keys/{ObjectId()}/rotate").status_code == 404
    assert status(admin.as_caller(made["key"])) == 200


def test_the_last_use_is_noted_off_the_request_and_not_each_time(
    admin: Api, client: Client, replica: Callable[..., Api]
) -> None:
    made, other = make_key(admin), replica()
    for app in (admin, other):
        assert status(app.as_caller(made["key"])) == 200
    first = until(lambda: admin.get(f"keys/{made['_id']}").json.get("last_used"), 5)
    assert stored_key(client, made)["_etag"] == made["_etag"]
    for app in (admin, other):
        assert status(app.as_caller(made["key"])) == 200
        app.http.application.extensions["service"].identity.note_use()
    assert admin.get(f"keys/{made['_id']}").json["last_used"] == first
    # Two minutes later, so to speak.
    long_ago = datetime.now(UTC) - timedelta(minutes=2)
    database_of(client)["keys"].update_one({"_id": ObjectId(made["_id"])}, {"$set": {"last_used": long_ago}})
    assert status(replica().as_caller(made["key"])) == 200
    until(lambda: admin.get(f"keys/{made['_id']}").json["last_used"] >= first, 5)


def test_a_key_is_held_to_its_models(admin: Api, client: Client, stub: Callable[..., Any]) -> None:
    for name in ("sums", "others"):
        stub(client, name=name, owner="alice")
    caller = admin.as_caller(make_key(admin, role="editor", models=["sums"])["key"])
    body = {"instances": [ROW], "store": "none"}
    # Twice: the second time the path is known, and the request answered before Flask.
    for _ in range(2):
        assert caller.post("models/sums/predict", json=body).status_code == 200
        for path in ("models/others/predict", "models/others/versions/1/predict", "models/nobodys/predict"):
            answer = caller.post(path, json=body)
            assert answer.status_code == 403
            name = path.split("/")[1]
            assert answer.json["_error"]["message"] == f"this key is not for the model {name!r}"
        assert admin.post("models/others/predict", json=body).status_code == 200
    assert caller.post("models/others/predict", json=body, headers={"Prefer": "respond-async"}).status_code == 403
    job = caller.post("jobs", json={"model": "sums"}).json
    refused = caller.post("jobs", json={"model": "others"})
    assert (refused.status_code, refused.json["_error"]["message"]) == (403, "this key is not for the model 'others'")
    assert caller.post("jobs", json=[{"model": "sums"}, {"model": "others"}]).status_code == 403
    assert database_of(client)["jobs"].count_documents({}) == 1
    # One of the other model, which the owner submitted with another key: stopped, but not run again.
    theirs = admin.as_caller(make_key(admin)["key"]).post("jobs", json={"model": "others"}).json
    for job_id, again in ((job["_id"], 200), (theirs["_id"], 403)):
        assert caller.patch(f"jobs/{job_id}", json={"status": "canceled"}, headers=MATCH).status_code == 200
        assert caller.patch(f"jobs/{job_id}", json={"status": "queued"}, headers=MATCH).status_code == again
    for name, code in (("sums", 200), ("others", 403)):
        [model] = caller.get("models", query_string={"where": json.dumps({"name": name})}).json["_items"]
        changed = caller.patch(f"models/{model['_id']}", json={"description": "x"}, headers=MATCH)
        assert changed.status_code == code
        file = (io.BytesIO(b"no model"), "m.keras")
        assert caller.post("models", data={"name": name, "file": file}).status_code == (201 if code == 200 else 403)
        if code == 403:
            assert caller.delete(f"models/{model['_id']}", headers=MATCH).status_code == 403


def test_the_models_of_a_key_change_at_once(admin: Api, client: Client, stub: Callable[..., Any]) -> None:
    stub(client)
    made = make_key(admin, models=["others"])
    caller, body = admin.as_caller(made["key"]), {"instances": [ROW], "store": "none"}
    assert caller.post("models/sums/predict", json=body).status_code == 403
    for models, code in ((["others", "sums"], 200), (["others"], 403), (None, 200)):
        assert admin.patch(f"keys/{made['_id']}", json={"models": models}, headers=MATCH).status_code == 200
        assert caller.post("models/sums/predict", json=body).status_code == code
    held = make_key(admin, role="admin")
    answer = admin.patch(f"keys/{held['_id']}", json={"models": ["sums"]}, headers=MATCH)
    assert (answer.status_code, list(answer.json["_issues"])) == (422, ["models"])


@pytest.mark.parametrize(
    "change",
    [
        {"$set": {"role": "root"}},
        {"$set": {"owner": ["alice"]}},
        {"$unset": {"owner": ""}},
        {"$set": {"models": "sums"}},
        {"$set": {"expires": "never"}},
        {"$set": {"hash": None}},
    ],
    ids=str,
)
def test_a_document_that_almanac_did_not_write_is_no_key(admin: Api, client: Client, change: dict[str, Any]) -> None:
    made = make_key(admin)
    database_of(client)["keys"].update_one({"_id": ObjectId(made["_id"])}, change)
    assert status(admin.as_caller(made["key"])) == 401
