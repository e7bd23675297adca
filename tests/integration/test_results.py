"""`results` over REST: what predict stored is read, and people write only the truth and a note."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from bson.binary import Binary
from pymongo import MongoClient

from ml.database.client import database_of
from tests.conftest import Api

Client = MongoClient[dict[str, Any]]


@pytest.fixture
def made(api: Api, client: Client, stub: Callable[..., Any]) -> dict[str, Any]:
    """One prediction with its record."""
    stub(client, classes=["low", "high"])
    answer = api.post(
        "models/sums/predict",
        json={"instances": [[1, 2, 3]], "meta": [{"who": "me"}]},
        headers={"X-Request-ID": "req-1"},
    )
    result: dict[str, Any] = api.get(f"results/{answer.json['predictions'][0]['_id']}").json
    return result


def test_every_field_that_a_client_sees(api: Api, made: dict[str, Any]) -> None:
    assert made.keys() == {
        "_id", "_created", "_updated", "_etag", "input", "model", "version", "digest", "status", "output", "label",
        "score", "timing", "executor", "protocol", "request", "meta", "owner",
    }  # fmt: skip
    assert (made["model"], made["version"], made["status"]) == ("sums", 1, "succeeded")
    assert (made["output"], made["label"], made["score"]) == ({"y": [6.0, 7.0]}, "high", 7.0)
    assert made["timing"].keys() == {"queue_ms", "compute_ms", "batch"}
    assert (made["executor"], made["protocol"], made["request"]) == ("stub", "almanac", "req-1")
    assert (made["meta"], made["owner"], made["digest"]) == ({"who": "me"}, "admin", "0" * 64)
    listed = api.get("results").json
    assert listed["_items"] == [made]
    assert listed["_meta"] == {"page": 1, "max_results": 25}
    assert listed["_links"] == {"self": {"href": "/api/v1/results"}}


@pytest.mark.parametrize("truth", ["high", 1, 1.5, True, ["a", 2], None])
def test_the_truth_and_a_note_can_be_marked(api: Api, made: dict[str, Any], truth: Any) -> None:
    path = f"results/{made['_id']}"
    answer = api.patch(path, json={"truth": truth, "note": "checked"}, headers={"If-Match": made["_etag"]})
    assert answer.status_code == 200
    assert answer.json == {
        **made, "truth": truth, "note": "checked", "_status": "OK",
        "_etag": answer.json["_etag"], "_updated": answer.json["_updated"],
    }  # fmt: skip
    assert answer.json["_updated"] >= made["_updated"]
    found = api.get("results", query_string={"where": json.dumps({"truth": truth})}).json["_items"]
    assert [item["_id"] for item in found] == [made["_id"]]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("output", {"y": [1]}, "is set by the server"),
        ("label", "low", "is set by the server"),
        ("score", 1, "is set by the server"),
        ("owner", "eve", "is set by the server"),
        ("status", "failed", "is set by the server"),
        ("meta", {}, "is set by the server"),
        ("input", "5f" * 12, "is set by the server"),
        ("truth", {"a": 1}, "expected a string or a number or true or false or a list, got an object"),
        ("truth", ["a", {"$b": 1}], "expected keys without $ in front"),
        ("note", 5, "expected a string, got the number 5"),
        ("note", "x" * 10_001, "expected at most 10000 long"),
        ("nope", 1, "no such field"),
    ],
)
def test_nothing_else_can(api: Api, made: dict[str, Any], field: str, value: Any, reason: str) -> None:
    answer = api.patch(f"results/{made['_id']}", json={field: value}, headers={"If-Match": "*"})
    assert answer.status_code == 422
    assert reason in answer.json["_issues"][field]
    assert api.get(f"results/{made['_id']}").json == made


def test_results_are_not_posted_and_can_be_deleted(api: Api, made: dict[str, Any]) -> None:
    answer = api.post("results", json={"label": "x"})
    assert (answer.status_code, answer.json["_error"]["message"]) == (405, "POST is not allowed here")
    assert "GET" in answer.headers["Allow"]
    path = f"results/{made['_id']}"
    assert api.delete(path, headers={"If-Match": made["_etag"]}).status_code == 204
    assert api.get(path).status_code == 404


def test_a_value_in_a_filter_is_cast_by_its_field(api: Api, client: Client, made: dict[str, Any]) -> None:
    id_ = ObjectId()
    database_of(client)["results"].insert_one(
        {"_id": id_, "meta": {"ref": made["input"], "day": "2026-01-01T00:00:00Z"}, "owner": "admin", "truth": "5"}
    )

    def found(where: Any) -> list[str]:
        return [item["_id"] for item in api.get("results", query_string={"where": json.dumps(where)}).json["_items"]]

    assert found({"input": made["input"]}) == [made["_id"]]
    assert found({"meta.ref": made["input"]}) == [str(id_)]
    assert found({"meta.day": "2026-01-01T00:00:00Z"}) == [str(id_)]
    assert found({"truth": "5"}) == [str(id_)]
    assert found({"truth": 5}) == []
    assert found({"_created": {"$gte": made["_created"]}}) == [made["_id"]]
    assert found({"_created": {"$gt": made["_created"]}}) == []
    assert found({"score": {"$gte": 7}, "timing.batch": 1, "label": {"$regex": "^hi"}}) == [made["_id"]]
    assert found({"$or": [{"_id": made["_id"]}, {"meta.ref": {"$exists": True}}]}) == [made["_id"], str(id_)]


def test_pages_sorting_and_counts(api: Api, client: Client) -> None:
    db = database_of(client)
    db["results"].insert_many([{"score": number % 4, "note": f"n{number:02}"} for number in range(10)])
    seen: list[str] = []
    path = "/api/v1/results?sort=-score,note&max_results=3&count=true"
    pages = 0
    while path:
        body = api.get(path).json
        seen += [item["note"] for item in body["_items"]]
        pages += 1
        assert body["_meta"] == {"page": pages, "max_results": 3, "total": 10}
        assert body["_links"]["self"]["href"].startswith("/api/v1/results?sort=-score%2Cnote")
        path = body["_links"].get("next", {}).get("href")
    assert pages == 4
    assert seen == sorted((f"n{n:02}" for n in range(10)), key=lambda note: (-(int(note[1:]) % 4), note))
    assert api.get("results?page=99").json["_items"] == []
    assert "total" not in api.get("results").json["_meta"]
    assert api.get("results?max_results=10").json["_links"].keys() == {"self"}


def test_projections(api: Api, made: dict[str, Any]) -> None:
    stamps = {"_id", "_created", "_updated", "_etag"}

    def fields(**projection: int) -> Any:
        text = json.dumps({name.replace("__", "."): shown for name, shown in projection.items()})
        (item,) = api.get("results", query_string={"projection": text}).json["_items"]
        assert api.get(f"results/{made['_id']}", query_string={"projection": text}).json == item
        assert all(item[name] == made[name] for name in stamps)
        return item

    assert fields(label=1).keys() == {"label", *stamps}
    assert fields(timing__batch=1)["timing"] == {"batch": 1}
    assert fields(output=0, meta=0).keys() == made.keys() - {"output", "meta"}
    assert fields(timing__batch=0)["timing"].keys() == {"queue_ms", "compute_ms"}
    assert fields(output__y=0)["output"] == {}
    assert fields(_etag=0).keys() == made.keys()


def test_the_input_and_the_job_can_be_embedded(api: Api, client: Client, made: dict[str, Any]) -> None:
    db = database_of(client)
    job = db["jobs"].insert_one({"model": "sums", "status": "succeeded", "fence": 3, "scope": {}}).inserted_id
    db["results"].update_one({}, {"$set": {"job": job}})
    asked = {"embedded": '{"input": 1, "job": 1}'}
    result = api.get(f"results/{made['_id']}", query_string=asked).json
    assert result["input"] == api.get(f"inputs/{made['input']}").json
    assert result["job"] == api.get(f"jobs/{job}").json
    assert result["job"].keys().isdisjoint({"fence", "scope"})
    assert api.get("results", query_string=asked).json["_items"] == [result]
    assert json.loads(api.get("results", query_string=asked, headers={"Accept": "application/x-ndjson"}).data) == result
    only = api.get("results", query_string={"embedded": '{"input": 1, "job": 0}', "projection": '{"input": 1}'}).json
    assert only["_items"][0]["input"] == result["input"]
    # What it led to is gone, or was never there: the id stays.
    db["inputs"].delete_many({})
    assert api.get(f"results/{made['_id']}", query_string=asked).json["input"] == made["input"]


@pytest.mark.shown_as_stored
def test_whatever_stands_where_an_id_should_be_embedding_does_not_fail(api: Api, client: Client) -> None:
    db = database_of(client)
    input_ = db["inputs"].insert_one({"data": [1], "owner": "admin"}).inserted_id
    odd: list[Any] = [None, 5, "x", [], [input_], {"$gt": ""}, {"$exists": True}, {"a": 1}, Binary(b"x"), math.nan]
    db["results"].insert_many([{"input": value} for value in odd])
    listed = api.get("results", query_string={"embedded": '{"input": 1}'})
    assert listed.status_code == 200
    assert len(listed.json["_items"]) == len(odd)
    assert '"data"' not in listed.text


def test_long_outputs_are_outlined_in_lists(api: Api, client: Client) -> None:
    long = {"dtype": "FP32", "shape": [1025], "data": Binary(b"\0" * 4100)}
    id_ = database_of(client)["results"].insert_one({"output": {"y": long, "z": [1.5]}}).inserted_id
    assert api.get("results").json["_items"][0]["output"] == {"y": {"dtype": "FP32", "shape": [1025]}, "z": [1.5]}
    assert api.get(f"results/{id_}").json["output"] == {"y": [0.0] * 1025, "z": [1.5]}
    shown = api.get("results", query_string={"projection": '{"output.y": 1}'}).json["_items"][0]["output"]
    assert shown == {"y": [0.0] * 1025}


def test_a_stream_is_every_match_a_line_each(api: Api, client: Client) -> None:
    db = database_of(client)
    db["results"].insert_many(
        [{"score": number, "_created": datetime(2026, 1, 1, tzinfo=UTC)} for number in range(250)]
    )
    ndjson = {"Accept": "application/x-ndjson"}
    answer = api.get("results", query_string={"where": '{"score": {"$gte": 10}}', "sort": "-score"}, headers=ndjson)
    assert (answer.status_code, answer.mimetype) == (200, "application/x-ndjson")
    lines = answer.text.split("\n")
    assert lines.pop() == ""
    documents = [json.loads(line) for line in lines]
    assert [document["score"] for document in documents] == list(range(249, 9, -1))
    assert documents[0] == api.get("results?sort=-score&max_results=1").json["_items"][0]
    projected = api.get("results", query_string={"projection": '{"score": 1}'}, headers=ndjson).text.splitlines()
    assert json.loads(projected[0]).keys() == {"_id", "_created", "_updated", "_etag", "score"}
    assert api.get("results", query_string={"where": '{"score": -1}'}, headers=ndjson).text == ""
    wrong = api.get("results", query_string={"where": '{"label": {"$regex": "^("}}'}, headers=ndjson)
    assert (wrong.status_code, wrong.mimetype) == (400, "application/json")
    for name in ("page", "max_results", "count"):
        answer = api.get(f"results?{name}=1", headers=ndjson)
        assert answer.status_code == 400
        assert answer.json["_issues"] == {name: "has no meaning for a stream, which is every match"}


@pytest.mark.parametrize(
    ("accept", "mimetype"),
    [
        ("*/*", "application/json"),
        ("text/html", "text/html"),
        ("application/json, application/x-ndjson", "application/json"),
        ("application/x-ndjson, */*;q=0.1", "application/x-ndjson"),
        ("application/xml", "application/json"),
        (";;;,q=x", "application/json"),
    ],
)
def test_what_a_list_is_given_as(api: Api, made: dict[str, Any], accept: str, mimetype: str) -> None:
    answer = api.get("results", headers={"Accept": accept})
    assert (answer.status_code, answer.mimetype) == (200, mimetype)


def test_a_nan_is_stored_as_it_is_and_shown_as_null(api: Api, client: Client) -> None:
    packed = {"dtype": "FP32", "shape": [2], "data": Binary(b"\0\0\xc0\x7f\0\0\x80\x7f")}
    id_ = (
        database_of(client)["results"]
        .insert_one({"output": {"y": [math.nan, math.inf, 1.0], "p": packed}, "score": math.nan})
        .inserted_id
    )
    for item in (api.get(f"results/{id_}").json, *api.get("results").json["_items"]):
        assert item["output"] == {"y": [None, None, 1.0], "p": [None, None]}
        assert item["score"] is None
    assert json.loads(api.get("results", headers={"Accept": "application/x-ndjson"}).data)["score"] is None
