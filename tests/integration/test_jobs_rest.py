"""`jobs` over REST, without a worker: submitted, read, moved from state to state, deleted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient

from ml.database.client import database_of
from tests.conftest import Api

Client = MongoClient[dict[str, Any]]
STATES = ("queued", "running", "paused", "succeeded", "failed", "canceled")
ALLOWED = {
    "queued": {"paused", "canceled"},
    "running": {"paused", "canceled"},
    "paused": {"queued", "canceled"},
    "succeeded": {"queued"},
    "failed": {"queued"},
    "canceled": {"queued"},
}


@pytest.fixture(autouse=True)
def _model(client: Client, stub: Callable[..., Any]) -> None:
    stub(client, version=1)
    stub(client, version=2, aliases={"stable": 1, "next": 2})


def submit(api: Api, **fields: Any) -> dict[str, Any]:
    answer = api.post("jobs", json={"model": "sums", **fields})
    assert answer.status_code == 201
    job: dict[str, Any] = answer.json
    return job


def in_state(client: Client, job: dict[str, Any], status: str) -> None:
    """As a worker would have left it."""
    fields: dict[str, Any] = {"status": status}
    if status in ("succeeded", "failed", "canceled"):
        fields.update(ended=datetime.now(UTC), phase="sweep", checkpoint=ObjectId(), attempts=2)
    if status == "failed":
        fields["error"] = "it could not be"
    if status == "running":
        fields.update(worker="w-1", lease=datetime.now(UTC), started=datetime.now(UTC))
    database_of(client)["jobs"].update_one({"_id": ObjectId(job["_id"])}, {"$set": fields})


def test_a_job_is_answered_as_a_whole(api: Api, client: Client) -> None:
    answer = api.post("jobs", json={"model": "sums", "where": {"tags": "a"}})
    assert answer.status_code == 201
    job = answer.json
    assert job.keys() == {
        "_id", "_created", "_updated", "_etag", "_status", "model", "version", "where", "priority", "max_attempts",
        "status", "progress", "attempts", "owner",
    }  # fmt: skip
    assert (job["model"], job["version"], job["status"], job["owner"]) == ("sums", 1, "queued", "admin")
    assert (job["priority"], job["max_attempts"], job["attempts"]) == (5, 3, 0)
    assert job["progress"] == {"total": None, "done": 0, "failed": 0, "rows_per_second": None}
    assert answer.headers["Location"].endswith(f"/api/v1/jobs/{job['_id']}")
    assert api.get(f"jobs/{job['_id']}").json == {k: v for k, v in job.items() if k != "_status"}
    assert api.get("jobs").json["_items"] == [api.get(f"jobs/{job['_id']}").json]


def test_the_version_is_resolved_when_it_is_submitted(api: Api) -> None:
    assert submit(api)["version"] == 1  # stable
    assert submit(api, version=2)["version"] == 2
    aliased = submit(api, alias="next")
    assert (aliased["version"], aliased["alias"]) == (2, "next")


def test_a_filter_is_cast_by_the_fields_of_inputs(api: Api, client: Client) -> None:
    id_, day = str(ObjectId()), "2026-01-01T00:00:00.000Z"
    where = {"$and": [{"_id": {"$gte": id_}}, {"_created": {"$lt": day}}], "meta.day": day, "meta.ref": id_}
    job = submit(api, where=where)
    assert job["where"] == where
    stored = database_of(client)["jobs"].find_one()
    assert stored is not None
    assert stored["where"] == {
        "$and": [{"_id": {"$gte": ObjectId(id_)}}, {"_created": {"$lt": datetime(2026, 1, 1, tzinfo=UTC)}}],
        "meta.day": day,
        "meta.ref": id_,
    }
    # Names with $ and dots in a stored document are in nobody's way.
    changed = api.patch(f"jobs/{job['_id']}", json={"status": "paused"}, headers={"If-Match": job["_etag"]})
    assert (changed.status_code, changed.json["where"]) == (200, where)


def test_a_list_of_inputs(api: Api) -> None:
    ids = [item["_id"] for item in api.post("inputs", json=[{"data": [1, 2, 3]}] * 3).json["_items"]]
    assert submit(api, inputs=ids)["inputs"] == ids
    unknown = str(ObjectId())
    answer = api.post("jobs", json={"model": "sums", "inputs": [ids[0], unknown]})
    assert answer.status_code == 404
    assert answer.json["_issues"] == {"inputs[1]": f"there is no input {unknown}"}


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"model": "other"}, 404, "there is no model 'other'; there are: sums"),
        ({"model": "sums", "version": 7}, 404, "sums has no version 7; there are: 1, 2"),
        ({"model": "sums", "alias": "prod"}, 404, "sums has no alias 'prod'; there are: next, stable"),
    ],
)
def test_a_model_that_there_is_not(api: Api, fields: dict[str, Any], code: int, message: str) -> None:
    answer = api.post("jobs", json=fields)
    assert (answer.status_code, answer.json["_error"]) == (code, {"code": code, "message": message})
    many = api.post("jobs", json=[{"model": "sums"}, fields])
    assert many.status_code == code
    assert many.json["_issues"] == {"[1]": message}
    assert api.get("jobs").json["_items"] == []


@pytest.mark.parametrize(("state", "code"), [("loading", 201), ("failed", 409), ("retired", 409)])
def test_a_model_in_another_state(api: Api, client: Client, stub: Callable[..., Any], state: str, code: int) -> None:
    stub(client, name="other", state=state)
    answer = api.post("jobs", json={"model": "other"})
    assert answer.status_code == code
    if code == 409:
        assert answer.json["_error"]["message"] == f"other:1 is {state}"


@pytest.mark.parametrize(
    ("fields", "issues"),
    [
        ({"model": None}, {"model": "expected a value, got null"}),
        ({"model": "a/b"}, {"model": "expected a string that matches"}),
        ({"version": 0}, {"version": "expected at least 1, got the number 0"}),
        ({"version": True}, {"version": "expected a whole number, got true"}),
        ({"version": 1.5}, {"version": "expected a whole number, got the number 1.5"}),
        ({"version": 2**31 + 1}, {"version": "expected at most 2147483648"}),
        ({"version": 1, "alias": "stable"}, {"version": "cannot be together with 'alias'"}),
        ({"where": {}, "inputs": ["0" * 24]}, {"where": "cannot be together with 'inputs'"}),
        ({"where": []}, {"where": "expected an object, got a list of 0"}),
        ({"where": "{}"}, {"where": "expected an object, got the string '{}'"}),
        ({"where": {"$where": "1"}}, {"where": "$where: the operator is not one of"}),
        ({"where": {"$or": [{"nope": 1}]}}, {"where": "$or[0].nope: no such field; there are _created"}),
        ({"where": {"_id": "x"}}, {"where": '_id: expected objectid, got a string "x"'}),
        ({"inputs": []}, {"inputs": "expected at least 1 long, got a list of 0"}),
        ({"inputs": ["x"]}, {"inputs[0]": "expected an id of 24 hexadecimal digits, got the string 'x'"}),
        ({"inputs": "0" * 24}, {"inputs": "expected a list, got the string"}),
        ({"inputs": {"0": "0" * 24}}, {"inputs": "expected a list, got an object"}),
        ({"inputs": ["0" * 24] * 10_001}, {"inputs": "expected at most 10000 long, got a list of 10001"}),
        ({"priority": 10}, {"priority": "expected at most 9, got the number 10"}),
        ({"priority": "5"}, {"priority": "expected a whole number, got the string '5'"}),
        ({"max_attempts": 0}, {"max_attempts": "expected at least 1"}),
        ({"status": "queued"}, {"status": "is set by the server; change it with PATCH"}),
        (
            {"status": "running"},
            {"status": "expected one of ['canceled', 'paused', 'queued'], got the string 'running'"},
        ),
        ({"progress": {"done": 5}}, {"progress": "is set by the server"}),
        ({"owner": "eve"}, {"owner": "is set by the server"}),
        ({"fence": 5, "scope": {}, "lease": 1}, {"fence": "no such field", "scope": "no such field"}),
        ({"follow": "yes"}, {"follow": "expected true or false, got the string 'yes'"}),
        (
            {"follow": True, "inputs": [str(ObjectId())]},
            {"follow": "expected false where inputs are a list of ids, got true"},
        ),
        ({"max_rows_per_second": 0}, {"max_rows_per_second": "expected at least 1e-05, got the number 0"}),
        ({"max_rows_per_second": "fast"}, {"max_rows_per_second": "expected a number, got the string 'fast'"}),
    ],
)
def test_what_does_not_fit_is_a_422_that_names_the_field(
    api: Api, fields: dict[str, Any], issues: dict[str, str]
) -> None:
    answer = api.post("jobs", json={"model": "sums", **fields})
    assert answer.status_code == 422
    for field, reason in issues.items():
        assert reason in answer.json["_issues"][field]
    assert "exception" not in answer.json["_issues"]
    assert api.get("jobs").json["_items"] == []


@pytest.mark.parametrize("wanted", ["queued", "paused", "canceled"])
@pytest.mark.parametrize("state", STATES)
def test_from_state_to_state(api: Api, client: Client, state: str, wanted: str) -> None:
    job = submit(api)
    path = f"jobs/{job['_id']}"
    in_state(client, job, state)
    before = api.get(path).json
    answer = api.patch(path, json={"status": wanted}, headers={"If-Match": before["_etag"]})
    if wanted not in ALLOWED[state]:
        assert answer.status_code == 409
        assert answer.json["_error"]["message"].startswith(f"the job is {state}; from there it can be ")
        assert api.get(path).json == before
        return
    assert answer.status_code == 200
    assert answer.json["status"] == wanted
    assert answer.json["_etag"] != before["_etag"]
    assert api.get(path).json == {k: v for k, v in answer.json.items() if k != "_status"}
    assert ("ended" in answer.json) == (wanted == "canceled")
    assert not {"worker", "error"} & answer.json.keys()
    assert ("started" in answer.json) == (state == "running")
    stored = database_of(client)["jobs"].find_one()
    assert stored is not None
    assert stored["fence"] == 1  # whoever held it can commit nothing more


@pytest.mark.parametrize("wanted", ["running", "succeeded", "failed", "done", None, 5])
def test_what_cannot_be_asked_for_at_all(api: Api, wanted: Any) -> None:
    job = submit(api)
    answer = api.patch(f"jobs/{job['_id']}", json={"status": wanted}, headers={"If-Match": "*"})
    assert answer.status_code == 422
    assert answer.json["_issues"]["status"].startswith("expected")


def test_the_priority_can_be_changed_and_nothing_else(api: Api) -> None:
    job = submit(api, where={})
    path = f"jobs/{job['_id']}"
    changed = api.patch(path, json={"priority": 9, "status": "paused"}, headers={"If-Match": job["_etag"]})
    assert (changed.status_code, changed.json["priority"], changed.json["status"]) == (200, 9, "paused")
    both = api.patch(path, json={"priority": 1, "status": "paused"}, headers={"If-Match": "*"})
    assert both.status_code == 409
    assert api.get(path).json["priority"] == 9
    for field, value, reason in [
        ("model", "sums", "cannot be changed"),
        ("where", {}, "cannot be changed"),
        ("inputs", ["0" * 24], "cannot be changed"),
        ("version", 2, "cannot be changed"),
        ("max_attempts", 5, "cannot be changed"),
        ("progress", {"done": 5}, "is set by the server"),
        ("attempts", 5, "is set by the server"),
        ("fence", 5, "no such field"),
    ]:
        answer = api.patch(path, json={field: value}, headers={"If-Match": "*"})
        assert (answer.status_code, answer.json["_issues"][field]) == (422, reason)
    assert api.patch(path, json={}, headers={"If-Match": "*"}).status_code == 200


def test_entity_tags(api: Api, client: Client) -> None:
    job = submit(api)
    path = f"jobs/{job['_id']}"
    assert api.patch(path, json={"priority": 1}).status_code == 428
    database_of(client)["jobs"].update_one({}, {"$set": {"progress.done": 5}})
    moved = api.patch(path, json={"priority": 1}, headers={"If-Match": job["_etag"]})
    assert moved.status_code == 200  # progress is no change of what clients write
    assert moved.json["progress"]["done"] == 5
    assert api.patch(path, json={"priority": 2}, headers={"If-Match": job["_etag"]}).status_code == 412
    assert api.patch(path, json={"priority": 2}, headers={"If-Match": "*"}).status_code == 200


def test_of_changes_at_the_same_time_one_is_made(api: Api, client: Client) -> None:
    job = submit(api)
    codes: list[int] = []
    gate = threading.Barrier(8)

    def change(wanted: str) -> None:
        http = Api(api.http.application.test_client())
        gate.wait()
        answer = http.patch(f"jobs/{job['_id']}", json={"status": wanted}, headers={"If-Match": job["_etag"]})
        codes.append(answer.status_code)

    threads = [threading.Thread(target=change, args=(wanted,)) for wanted in ("paused", "canceled") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [412] * 7
    stored = database_of(client)["jobs"].find_one()
    assert stored is not None
    assert stored["fence"] == 1


def test_a_get_of_a_job_ignores_conditional_headers(api: Api) -> None:
    job = submit(api)
    for headers in (
        {"If-None-Match": job["_etag"]},
        {"If-None-Match": "*"},
        {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
    ):
        answer = api.get(f"jobs/{job['_id']}", headers=headers)
        assert (answer.status_code, answer.json["_id"]) == (200, job["_id"])


@pytest.mark.parametrize("state", STATES)
def test_a_job_is_deleted_when_it_has_ended(api: Api, client: Client, state: str) -> None:
    job = submit(api)
    in_state(client, job, state)
    answer = api.delete(f"jobs/{job['_id']}", headers={"If-Match": job["_etag"]})
    if state in ("succeeded", "failed", "canceled"):
        assert answer.status_code == 204
        assert api.get(f"jobs/{job['_id']}").status_code == 404
    else:
        assert answer.status_code == 409
        assert answer.json["_error"]["message"].startswith(f"the job is {state}; it can be deleted when")
        assert api.get(f"jobs/{job['_id']}").status_code == 200


@pytest.mark.parametrize("status", [None, "lost", 5, ["queued"], {"a": 1}])
@pytest.mark.shown_as_stored
def test_a_job_in_no_state_is_told_and_can_be_deleted(api: Api, client: Client, status: Any) -> None:
    document = {"model": "sums", **({} if status is None else {"status": status})}
    id_ = database_of(client)["jobs"].insert_one(document).inserted_id
    etag = api.get("jobs").json["_items"][0]["_etag"]
    answer = api.patch(f"jobs/{id_}", json={"status": "canceled"}, headers={"If-Match": etag})
    assert answer.status_code == 409
    assert answer.json["_error"]["message"].startswith("the job has no state")
    assert api.delete(f"jobs/{id_}", headers={"If-Match": etag}).status_code == 204


def test_jobs_are_found_by_their_fields(api: Api, client: Client) -> None:
    first, second = submit(api), submit(api, priority=9)
    in_state(client, second, "succeeded")

    def found(where: Any, sort: str = "_id") -> list[str]:
        query = {"where": json.dumps(where), "sort": sort}
        return [item["_id"] for item in api.get("jobs", query_string=query).json["_items"]]

    assert found({"status": {"$in": ["queued", "running"]}}) == [first["_id"]]
    assert found({"progress.done": 0}, "-priority") == [second["_id"], first["_id"]]
    assert found({"ended": {"$exists": True}}) == [second["_id"]]


def test_a_limit_is_changed_and_taken_away_and_following_is_not(api: Api) -> None:
    job = submit(api, max_rows_per_second=2.5, follow=True)
    assert (job["max_rows_per_second"], job["follow"]) == (2.5, True)
    path, always = f"jobs/{job['_id']}", {"If-Match": "*"}
    changed = api.patch(path, json={"max_rows_per_second": 100}, headers=always)
    assert (changed.status_code, changed.json["max_rows_per_second"]) == (200, 100)
    assert changed.json["_etag"] != job["_etag"]
    gone = api.patch(path, json={"max_rows_per_second": None}, headers=always)
    assert (gone.status_code, gone.json["max_rows_per_second"]) == (200, None)
    refused = api.patch(path, json={"follow": False}, headers=always)
    assert (refused.status_code, refused.json["_issues"]) == (422, {"follow": "cannot be changed"})
