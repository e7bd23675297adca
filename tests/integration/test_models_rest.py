"""`models` over REST: registered from a file, changed, retired; names and versions belong to someone for good."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from pymongo import MongoClient

from ml.database.client import database_of
from tests.conftest import Api
from tests.integration.rest import ROW, URL

Client = MongoClient[dict[str, Any]]
FILE = b"PK\x03\x04 not yet looked at"


def register(api: Api, name: str = "m", content: bytes = FILE, **fields: Any) -> Any:
    return api.post("models", data={"name": name, "file": (io.BytesIO(content), "model.keras"), **fields})


def registered(api: Api, name: str = "m", **fields: Any) -> dict[str, Any]:
    answer = register(api, name, **fields)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json
    return document


def test_a_file_is_registered_as_a_version_that_is_loading(api: Api, client: Client) -> None:
    answer = register(api, classes='["low", "high"]', aliases="stable, next", description="the first")
    assert answer.status_code == 201
    body = answer.json
    assert body.keys() == {
        "_id", "_created", "_updated", "_etag", "_status", "name", "version", "state", "digest", "size", "classes",
        "aliases", "description", "owner",
    }  # fmt: skip
    assert (body["name"], body["version"], body["state"], body["owner"]) == ("m", 1, "loading", "admin")
    assert (body["digest"], body["size"]) == (hashlib.sha256(FILE).hexdigest(), len(FILE))
    assert (body["classes"], body["description"]) == (["low", "high"], "the first")
    assert body["aliases"] == []  # they move when the version can answer
    assert answer.headers["Location"] == f"/api/v1/models/{body['_id']}"
    assert answer.headers["ETag"] == f'"{body["_etag"]}"'
    read = api.get(answer.headers["Location"])
    assert read.json == {name: value for name, value in body.items() if name != "_status"}
    assert api.get("models").json["_items"] == [read.json]
    stored = database_of(client)["models"].find_one()
    assert stored is not None
    assert stored["pending_aliases"] == ["stable", "next"]
    assert database_of(client)["files.files"].count_documents({"_id": stored["file"]}) == 1


@pytest.mark.parametrize(
    "given", [{"classes": "a,b"}, {"classes": '["a", "b"]'}, {"classes": ["a", "b"]}, {"classes": " a , b "}]
)
def test_classes_may_be_written_in_three_ways(api: Api, given: dict[str, Any]) -> None:
    assert registered(api, **given)["classes"] == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "issues"),
    [
        ({"name": ""}, {"name": "expected 1 to 64 of A-Z a-z 0-9 . _ -"}),
        ({"name": "../etc"}, {"name": "got '../etc'"}),
        ({"name": "m\n"}, {"name": "got 'm\\n'"}),
        ({"name": "-m"}, {"name": "the first a letter or digit"}),
        ({"name": "m" * 65}, {"name": "expected 1 to 64"}),
        ({"name": ["a", "b"]}, {"name": "expected one value, got several"}),
        ({"description": ["a", "b"]}, {"description": "expected one value, got several"}),
        ({"description": "x" * 10_001}, {"description": "expected at most 10000 characters"}),
        ({"classes": "a,a"}, {"classes": "expected different names of 1 to 200 characters"}),
        ({"classes": ""}, {"classes": "expected different names of 1 to 200 characters"}),
        ({"classes": "[1]"}, {"classes": "expected a list of strings"}),
        ({"classes": "[a"}, {"classes": "not JSON"}),
        ({"aliases": "a/b"}, {"aliases": "expected different names, each 1 to 64"}),
        ({"aliases": "a.b,$x"}, {"aliases": "expected different names"}),
        ({"state": "available"}, {"state": "no such field; there are file, sample, name, classes"}),
        ({"owner": "eve"}, {"owner": "no such field"}),
        ({"version": "9"}, {"version": "no such field"}),
        ({"classes": (io.BytesIO(b"a"), "a")}, {"classes": "no such field"}),
        ({"extra": (io.BytesIO(b"a"), "a")}, {"extra": "no such field"}),
    ],
)
def test_a_form_that_does_not_fit(api: Api, client: Client, fields: dict[str, Any], issues: dict[str, str]) -> None:
    answer = api.post("models", data={"name": "m", "file": (io.BytesIO(FILE), "m.keras"), **fields})
    assert answer.status_code == 422
    for field, reason in issues.items():
        assert reason in answer.json["_issues"][field]
    nothing_was_written(client)


def nothing_was_written(client: Client) -> None:
    db = database_of(client)
    assert {name: db[name].count_documents({}) for name in ("models", "registry", "files.files", "files.chunks")} == {
        "models": 0,
        "registry": 0,
        "files.files": 0,
        "files.chunks": 0,
    }


@pytest.mark.parametrize(
    ("data", "issues"),
    [
        ({"name": "m"}, {"file": "expected a .keras file, got nothing"}),
        ({"name": "m", "file": "text"}, {"file": "no such field"}),
        ({"name": "m", "file": (io.BytesIO(b""), "m.keras")}, {"file": "expected a .keras file, got an empty one"}),
        (
            {"name": "m", "file": [(io.BytesIO(FILE), "a"), (io.BytesIO(FILE), "b")]},
            {"file": "expected one file, got several"},
        ),
        ({"file": (io.BytesIO(FILE), "m.keras")}, {"name": "expected the model's name, got nothing"}),
    ],
)
def test_a_form_without_its_parts(api: Api, client: Client, data: Any, issues: dict[str, str]) -> None:
    answer = api.post("models", data=data, content_type="multipart/form-data")
    assert answer.status_code == 422
    for field, reason in issues.items():
        assert reason in answer.json["_issues"][field]
    nothing_was_written(client)


def test_a_body_of_another_type(api: Api, client: Client) -> None:
    for kwargs in ({"json": {"name": "m"}}, {"data": FILE, "content_type": "application/octet-stream"}, {}):
        answer = api.post("models", **kwargs)
        assert answer.status_code == 415
        assert answer.json["_error"]["message"].startswith("expected Content-Type multipart/form-data, got ")
    nothing_was_written(client)


def test_a_model_may_be_larger_than_other_bodies_up_to_its_own_limit(
    client: Client, make_api: Callable[..., Api]
) -> None:
    api = make_api(client, max_body_mb=1, max_model_mb=2)
    assert registered(api, content=b"x" * (3 << 19))["size"] == 3 << 19
    answer = register(api, content=b"x" * (2 << 20))
    assert (answer.status_code, answer.json["_error"]["code"]) == (413, 413)
    assert api.get("models?count=true").json["_meta"]["total"] == 1


def test_versions_count_up_by_name_and_are_never_used_again(api: Api) -> None:
    first, second = registered(api), registered(api)
    other = registered(api, name="other")
    assert [first["version"], second["version"], other["version"]] == [1, 2, 1]
    for model in (first, second):
        assert api.delete(f"models/{model['_id']}", headers={"If-Match": "*"}).status_code == 204
    assert registered(api)["version"] == 3


def test_delete_retires(api: Api, client: Client) -> None:
    document = registered(api, sample=(io.BytesIO(b"rows"), "rows.npy"), aliases="a")
    db = database_of(client)
    assert db["files.files"].count_documents({}) == 2
    path = f"models/{document['_id']}"
    assert api.delete(path).status_code == 428
    assert api.delete(path, headers={"If-Match": "other"}).status_code == 412
    assert api.delete(path, headers={"If-Match": document["_etag"]}).status_code == 204
    after = api.get(path).json
    assert (after["state"], after["aliases"]) == ("retired", [])
    assert after["_etag"] != document["_etag"]
    assert db["files.files"].count_documents({}) == db["files.chunks"].count_documents({}) == 0
    assert "pending_aliases" not in (db["models"].find_one() or {})


@pytest.fixture
def versions(client: Client, stub: Callable[..., Any]) -> list[dict[str, Any]]:
    """Two versions that are available, `stable` is the first."""
    return [stub(client, name="m", version=number, aliases={"stable": 1}) for number in (1, 2)]


def aliases(api: Api) -> dict[int, list[str]]:
    return {item["version"]: item["aliases"] for item in api.get("models?sort=version").json["_items"]}


def test_an_alias_is_moved(api: Api, client: Client, versions: list[dict[str, Any]]) -> None:
    second = f"models/{versions[1]['_id']}"
    etag = api.get(second).json["_etag"]
    answer = api.patch(second, json={"aliases": ["stable", "next"]}, headers={"If-Match": etag})
    assert answer.status_code == 200
    assert answer.json["aliases"] == ["next", "stable"]
    assert aliases(api) == {1: [], 2: ["next", "stable"]}
    entry = database_of(client)["registry"].find_one({"_id": "m"})
    assert entry is not None
    assert entry["aliases"] == {"stable": 2, "next": 2}
    assert api.get(second).json == {k: v for k, v in answer.json.items() if k != "_status"}
    assert api.patch(second, json={"aliases": []}, headers={"If-Match": "*"}).json["aliases"] == []
    assert aliases(api) == {1: [], 2: []}


def test_classes_and_description_are_changed(api: Api, versions: list[dict[str, Any]]) -> None:
    path = f"models/{versions[0]['_id']}"
    before = api.get(path).json
    answer = api.patch(path, json={"classes": ["a", "b"], "description": "d"}, headers={"If-Match": before["_etag"]})
    assert answer.status_code == 200
    assert answer.json == {
        **before, "classes": ["a", "b"], "description": "d", "_status": "OK",
        "_etag": answer.json["_etag"], "_updated": answer.json["_updated"],
    }  # fmt: skip
    assert api.patch(path, json={"description": None}, headers={"If-Match": "*"}).json["description"] is None
    assert api.patch(path, json={"description": "x"}, headers={"If-Match": before["_etag"]}).status_code == 412


def test_what_is_changed_of_a_model_that_is_served_is_seen_at_once(api: Api, client: Client, stub: Any) -> None:
    path = f"models/{stub(client)['_id']}"
    assert "label" not in api.post(URL, json={"instances": [ROW]}).json["predictions"][0]
    registry = api.http.application.extensions["service"].registry
    assert registry.resolve("sums").batcher.window == 0
    api.patch(path, json={"classes": ["low", "high"], "batch_window_ms": 2.5}, headers={"If-Match": "*"})
    registry.refresh()  # as its thread does twice a second
    assert api.post(URL, json={"instances": [ROW]}).json["predictions"][0]["label"] == "high"
    assert registry.resolve("sums").batcher.window == 0.0025


@pytest.mark.parametrize(
    ("body", "issues"),
    [
        ({"name": "n"}, {"name": "is set by the server"}),
        ({"version": 9}, {"version": "is set by the server"}),
        ({"state": "retired"}, {"state": "is set by the server"}),
        ({"digest": "0"}, {"digest": "is set by the server"}),
        ({"executor": "tf"}, {"executor": "is set by the server"}),
        ({"owner": "eve"}, {"owner": "is set by the server"}),
        ({"inputs": []}, {"inputs": "is set by the server"}),
        ({"artefacts": {}, "file": 1}, {"artefacts": "no such field", "file": "no such field"}),
        ({"aliases": ["a", "a"]}, {"aliases": "expected different names"}),
        ({"aliases": ["a.b$"]}, {"aliases": "expected different names"}),
        ({"aliases": ["x" * 201]}, {"aliases[0]": "expected at most 200 long"}),
        ({"aliases": "a"}, {"aliases": "expected a list, got the string 'a'"}),
        ({"classes": [1]}, {"classes[0]": "expected a string, got the number 1"}),
        ({"classes": None}, {"classes": "expected a value, got null"}),
        ({"description": 5}, {"description": "expected a string, got the number 5"}),
        ({"batch_window_ms": "5"}, {"batch_window_ms": "expected a number, got the string '5'"}),
        ({"batch_window_ms": -1}, {"batch_window_ms": "expected at least 0, got the number -1"}),
        ({"batch_window_ms": 1001}, {"batch_window_ms": "expected at most 1000, got the number 1001"}),
    ],
)
def test_what_cannot_be_changed(
    api: Api, versions: list[dict[str, Any]], body: dict[str, Any], issues: dict[str, str]
) -> None:
    path = f"models/{versions[0]['_id']}"
    before = api.get(path).json
    answer = api.patch(path, json=body, headers={"If-Match": "*"})
    assert answer.status_code == 422
    for field, reason in issues.items():
        assert reason in answer.json["_issues"][field]
    assert api.get(path).json == before


def test_aliases_need_a_version_that_answers(api: Api, client: Client, stub: Callable[..., Any]) -> None:
    for version, state in enumerate(("failed", "retired"), 1):
        id_ = stub(client, name="m", version=version, state=state)["_id"]
        answer = api.patch(f"models/{id_}", json={"aliases": ["a"]}, headers={"If-Match": "*"})
        assert answer.status_code == 409
        assert answer.json["_error"]["message"] == f"m:{version} is {state}; an alias needs it available"


def test_a_name_belongs_to_who_first_registered_it(api: Api, client: Client) -> None:
    alice, bob = api.as_caller("editor:alice"), api.as_caller("editor:bob")
    mine = registered(alice)
    assert mine["owner"] == "alice"
    refused = register(bob)
    assert (refused.status_code, refused.json["_error"]["message"]) == (403, "the name 'm' belongs to another owner")
    path, match = f"models/{mine['_id']}", {"If-Match": "*"}
    for answer in (bob.patch(path, json={"description": "x"}, headers=match), bob.delete(path, headers=match)):
        assert (answer.status_code, answer.json["_error"]["code"]) == (403, 403)
        assert answer.json["_error"]["message"] == "the name 'm' belongs to another owner"
    # All see it, and nothing of it has changed.
    assert bob.get(path).json == {k: v for k, v in mine.items() if k != "_status"}
    assert database_of(client)["files.files"].count_documents({}) == 1
    # A version that the admin added is of the name's owner to change, and no one else's.
    theirs = registered(api)
    assert theirs["version"] == 2
    path = f"models/{theirs['_id']}"
    assert bob.delete(path, headers=match).status_code == 403
    assert alice.patch(path, json={"description": "x"}, headers=match).status_code == 200
    assert api.patch(f"models/{mine['_id']}", json={"description": "y"}, headers=match).status_code == 200
    assert alice.delete(path, headers=match).status_code == 204


def test_models_are_found_by_their_fields(api: Api, versions: list[dict[str, Any]]) -> None:
    def found(where: Any) -> list[int]:
        items = api.get("models", query_string={"where": json.dumps(where), "sort": "version"}).json["_items"]
        return [item["version"] for item in items]

    assert found({"aliases": "stable"}) == [1]
    assert found({"inputs.name": "x", "version": {"$gte": 2}}) == [2]
    assert found({"inputs": {"$elemMatch": {"dtype": "FP32", "shape": [3]}}}) == [1, 2]
    assert found({"state": "available", "name": {"$regex": "^m"}}) == [1, 2]


def test_what_is_inside_stays_inside(api: Api, versions: list[dict[str, Any]]) -> None:
    (first, _) = api.get("models?sort=version").json["_items"]
    assert not {"artefacts", "file", "sample", "pending_aliases"} & first.keys()
