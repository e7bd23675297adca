"""Two owners and an admin on every route and method: nothing of another's is seen or changed, and it is a 404."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient

from ml.database.client import database_of
from ml.webhooks import outbox
from tests.conftest import Api

Client = MongoClient[dict[str, Any]]
OWNED = ("inputs", "results", "jobs", "deliveries")
NDJSON = {"Accept": "application/x-ndjson"}
SECRET = "secret-of-"


def everything(client: Client) -> dict[str, list[dict[str, Any]]]:
    """All that is stored, but for what replicas tell one another every second, and what the audit says of it."""
    db = database_of(client)
    names = sorted(name for name in db.list_collection_names() if not name.startswith(("system.", "traffic", "audit")))
    return {name: list(db[name].find().sort("_id", 1)) for name in names}


@pytest.fixture
def ids(api: Api, client: Client, stub: Callable[..., Any]) -> dict[str, dict[str, str]]:
    """For each owner the id of one document of each kind, all made through the API."""
    stub(client)
    made: dict[str, dict[str, str]] = {}
    for owner, token in {"alice": "user:alice", "bob": "user:bob", "admin": None}.items():
        caller = api.as_caller(token) if token else api
        input_ = caller.post("inputs", json={"data": [1, 2, 3], "meta": {"s": SECRET + owner}, "tags": ["t"]}).json
        answer = caller.post("models/sums/predict", json={"inputs": [input_["_id"]], "meta": [{"s": SECRET + owner}]})
        job = caller.post("jobs", json={"model": "sums", "where": {"meta.s": SECRET + owner}}).json
        database_of(client)["results"].update_one(
            {"_id": ObjectId(answer.json["predictions"][0]["_id"])}, {"$set": {"job": ObjectId(job["_id"])}}
        )
        body = {"model": "sums", "webhook": {"url": f"https://receiver.example/{SECRET}{owner}"}}
        told = caller.post("jobs", json=body).json
        caller.patch(f"jobs/{told['_id']}", json={"status": "canceled"}, headers={"If-Match": "*"})
        outbox.move_all(database_of(client))
        [delivery] = database_of(client)["deliveries"].find({"job": ObjectId(told["_id"])})
        # Only what it led to: the tests count on one job of each.
        database_of(client)["jobs"].delete_one({"_id": ObjectId(told["_id"])})
        made[owner] = {
            "deliveries": str(delivery["_id"]),
            "inputs": input_["_id"],
            "results": answer.json["predictions"][0]["_id"],
            "jobs": job["_id"],
        }
    return made


@pytest.fixture
def alice(api: Api) -> Api:
    return api.as_caller("user:alice")


@pytest.fixture
def untouched(client: Client, ids: dict[str, dict[str, str]]) -> Iterator[None]:
    """Nothing is written by the test."""
    before = everything(client)
    yield
    assert everything(client) == before


@pytest.mark.parametrize("resource", OWNED)
@pytest.mark.usefixtures("untouched")
def test_lists_counts_and_streams_hold_ones_own(alice: Api, api: Api, ids: Any, resource: str) -> None:
    mine = [ids["alice"][resource]]
    listed = alice.get(f"{resource}?count=true").json
    assert [item["_id"] for item in listed["_items"]] == mine
    assert listed["_meta"]["total"] == 1
    assert [json.loads(line)["_id"] for line in alice.get(resource, headers=NDJSON).text.splitlines()] == mine
    assert api.get(f"{resource}?count=true").json["_meta"]["total"] == 3


@pytest.mark.parametrize("resource", OWNED)
@pytest.mark.usefixtures("untouched")
def test_no_filter_reaches_further(alice: Api, ids: Any, resource: str) -> None:
    other = ids["bob"][resource]
    for where in (
        {"owner": "bob"},
        {"owner": {"$ne": "alice"}},
        {"owner": {"$in": ["alice", "bob"]}},
        {"$or": [{"owner": "bob"}, {"owner": "alice"}]},
        {"$nor": [{"owner": "alice"}]},
        {"owner": {"$exists": False}},
        {"_id": other},
        {"$or": [{"_id": other}, {"_id": {"$gt": "0" * 24}}]},
    ):
        query = {"where": json.dumps(where), "count": "true"}
        listed = alice.get(resource, query_string=query)
        assert {item["_id"] for item in listed.json["_items"]} <= {ids["alice"][resource]}
        assert listed.json["_meta"]["total"] == len(listed.json["_items"])
        stream = alice.get(resource, query_string={"where": json.dumps(where)}, headers=NDJSON).text
        assert SECRET + "bob" not in listed.text + stream
        assert other not in stream


@pytest.mark.parametrize("other", ["bob", "admin"])
@pytest.mark.parametrize("resource", OWNED)
@pytest.mark.usefixtures("untouched")
def test_another_owners_document_is_as_if_it_were_not_there(alice: Api, ids: Any, resource: str, other: str) -> None:
    path, missing = f"{resource}/{ids[other][resource]}", f"{resource}/{ObjectId()}"
    bodies = {"inputs": {"tags": ["x"]}, "results": {"note": "x"}, "jobs": {"status": "canceled"}}
    body = bodies.get(resource, {"status": "queued"})
    methods = [("get", None), ("head", None), ("patch", body), ("delete", None)]
    for method, json_ in methods[: 3 if resource == "deliveries" else 4]:
        for headers in ({"If-Match": "*"}, {"If-Match": "x"}, {}):
            theirs, absent = (getattr(alice, method)(p, json=json_, headers=headers) for p in (path, missing))
            assert theirs.status_code == absent.status_code == 404, (method, headers)
            if method != "head":
                assert theirs.text.replace(path, "") == absent.text.replace(missing, "")
    for parameters in ("", "?pretty", "?projection=%7B%22owner%22%3A1%7D"):
        assert alice.get(path + parameters).status_code == 404


@pytest.mark.usefixtures("untouched")
def test_the_data_of_anothers_input_is_not_there(alice: Api, api: Api, ids: Any) -> None:
    assert alice.get(f"inputs/{ids['alice']['inputs']}/data").status_code == 200
    assert alice.get(f"inputs/{ids['bob']['inputs']}/data").status_code == 404
    assert api.get(f"inputs/{ids['bob']['inputs']}/data").status_code == 200


@pytest.mark.usefixtures("untouched")
def test_nobody_waits_for_anothers_job(alice: Api, api: Api, ids: Any) -> None:
    for other in (ids["bob"]["jobs"], ids["admin"]["jobs"], str(ObjectId())):
        for path, headers in ((f"jobs/{other}/events", {}), (f"jobs/{other}", {"Prefer": "wait=60"})):
            assert alice.get(path, headers=headers).status_code == alice.head(path, headers=headers).status_code == 404
    for caller, job in ((alice, ids["alice"]["jobs"]), (api, ids["bob"]["jobs"])):
        assert caller.head(f"jobs/{job}/events").status_code == 200
        with caller.get(f"jobs/{job}/events") as stream:
            parts = iter(stream.response)
            assert [job in next(parts).decode() for _ in range(2)] == [False, True]  # how to come again; the job


@pytest.mark.usefixtures("untouched")
def test_anothers_inputs_are_not_scored(alice: Api, ids: Any) -> None:
    theirs = ids["bob"]["inputs"]
    for store in ("all", "none"):
        answer = alice.post("models/sums/predict", json={"inputs": [ids["alice"]["inputs"], theirs], "store": store})
        assert answer.status_code == 404
        assert answer.json["_issues"] == {"inputs[1]": f"there is no input {theirs}"}
    for path, body, headers in (
        ("jobs", {"model": "sums", "inputs": [theirs]}, {}),
        ("models/sums/predict", {"inputs": [theirs]}, {"Prefer": "respond-async"}),
    ):
        answer = alice.post(path, json=body, headers=headers)
        assert answer.status_code == 404
        assert answer.json["_issues"] == {"inputs[0]": f"there is no input {theirs}"}


def test_embedding_reaches_no_further(alice: Api, api: Api, client: Client, ids: Any) -> None:
    db = database_of(client)
    theirs = {name: ObjectId(ids["bob"][name]) for name in OWNED}
    db["results"].update_one(
        {"_id": ObjectId(ids["alice"]["results"])}, {"$set": {"input": theirs["inputs"], "job": theirs["jobs"]}}
    )
    query = {"embedded": '{"input": 1, "job": 1}'}
    for answer in (
        alice.get("results", query_string=query),
        alice.get(f"results/{ids['alice']['results']}", query_string=query),
        alice.get("results", query_string=query, headers=NDJSON),
    ):
        assert answer.status_code == 200
        assert SECRET + "bob" not in answer.text
        assert ids["bob"]["inputs"] in answer.text  # the id that stands in her own document
    assert SECRET + "bob" in api.get("results", query_string=query).text


def test_what_is_made_belongs_to_the_caller(alice: Api, client: Client, ids: Any) -> None:
    db = database_of(client)
    for body in ({"data": [1, 2, 3]}, [{"data": [1, 2, 3]}, {"data": [4, 5, 6]}]):
        alice.post("inputs", json=body)
    answer = alice.post("models/sums/predict", json={"instances": [[1, 2, 3]]})
    alice.post("jobs", json={"model": "sums"})
    assert db["inputs"].count_documents({"owner": "alice"}) == 5
    prediction = answer.json["predictions"][0]
    for name, id_ in (("results", prediction["_id"]), ("inputs", prediction["input"])):
        document = db[name].find_one({"_id": ObjectId(id_)})
        assert document is not None
        assert document["owner"] == "alice"
    job = db["jobs"].find_one(sort=[("_id", -1)])
    assert job is not None
    assert (job["owner"], job["scope"]) == ("alice", {"owner": "alice"})


@pytest.mark.parametrize("resource", ["inputs", "jobs"])
@pytest.mark.usefixtures("untouched")
def test_an_owner_is_never_taken_from_a_body(alice: Api, api: Api, ids: Any, resource: str) -> None:
    good = {"inputs": {"data": [1]}, "jobs": {"model": "sums"}}[resource]
    for caller in (alice, api):
        for owner in ("bob", "alice", None):
            for body in ({**good, "owner": owner}, [good, {**good, "owner": owner}]):
                assert caller.post(resource, json=body).status_code == 422
    path = f"{resource}/{ids['alice'][resource]}"
    answer = alice.patch(path, json={"owner": "bob"}, headers={"If-Match": "*"})
    assert (answer.status_code, answer.json["_issues"]) == (422, {"owner": "is set by the server"})


def test_the_result_of_a_stored_input_belongs_to_its_owner(api: Api, client: Client, ids: Any) -> None:
    answer = api.post("models/sums/predict", json={"inputs": [ids["alice"]["inputs"], ids["bob"]["inputs"]]})
    owners = [
        (database_of(client)["results"].find_one({"_id": ObjectId(p["_id"])}) or {})["owner"]
        for p in answer.json["predictions"]
    ]
    assert owners == ["alice", "bob"]


@pytest.mark.shown_as_stored
def test_without_owner_a_document_is_the_admins_alone(alice: Api, api: Api, client: Client, ids: Any) -> None:
    db = database_of(client)
    for owner in ({}, {"owner": None}, {"owner": ["alice", "bob"]}):
        id_ = db["inputs"].insert_one({"data": [1, 2, 3], **owner}).inserted_id
        visible = owner == {"owner": ["alice", "bob"]}  # MongoDB's equality looks into lists
        assert alice.get(f"inputs/{id_}").status_code == (200 if visible else 404)
        assert api.get(f"inputs/{id_}").status_code == 200


def test_models_are_seen_by_all(alice: Api, ids: Any) -> None:
    assert alice.get("models?count=true").json["_meta"]["total"] == 1
    id_ = alice.get("models").json["_items"][0]["_id"]
    assert alice.get(f"models/{id_}").status_code == 200
    for answer in (
        alice.patch(f"models/{id_}", json={"description": "x"}, headers={"If-Match": "*"}),
        alice.delete(f"models/{id_}", headers={"If-Match": "*"}),
    ):
        assert answer.status_code == 403
    assert alice.get(f"models/{id_}").json["state"] == "available"


def test_ones_own_is_read_changed_and_deleted(alice: Api, ids: Any) -> None:
    bodies = {"inputs": {"tags": ["x"]}, "results": {"note": "x"}, "jobs": {"status": "canceled"}}
    for resource in ("results", "jobs", "inputs"):
        path = f"{resource}/{ids['alice'][resource]}"
        etag = alice.get(path).json["_etag"]
        changed = alice.patch(path, json=bodies[resource], headers={"If-Match": etag})
        assert changed.status_code == 200
        assert alice.delete(path, headers={"If-Match": changed.json["_etag"]}).status_code == 204
        assert alice.get(f"{resource}?count=true").json["_meta"]["total"] == 0


def test_ones_own_delivery_is_sent_again(alice: Api, client: Client, ids: Any) -> None:
    id_ = ObjectId(ids["alice"]["deliveries"])
    database_of(client)["deliveries"].update_one({"_id": id_}, {"$set": {"status": "failed"}})
    path = f"deliveries/{id_}"
    changed = alice.patch(path, json={"status": "queued"}, headers={"If-Match": alice.get(path).json["_etag"]})
    assert (changed.status_code, changed.json["status"]) == (200, "queued")
    assert alice.delete(path, headers={"If-Match": "*"}).status_code == 405


def test_a_secret_is_its_owners(alice: Api, api: Api, ids: Any) -> None:
    secrets = [caller.get("webhooks/secret").json["secret"] for caller in (alice, api.as_caller("user:bob"), api)]
    assert len(set(secrets)) == 3
    rotated = alice.post("webhooks/secret").json["secret"]
    assert rotated not in secrets
    after = [caller.get("webhooks/secret").json["secret"] for caller in (alice, api.as_caller("user:bob"), api)]
    assert after == [rotated, *secrets[1:]]
    for name in ("webhook_secrets", "webhooks"):
        assert api.get(name).status_code == 404
