"""`inputs` over REST: stored, listed, changed and deleted, as JSON and as files."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ml.database.client import database_of
from tests.conftest import Api
from tests.integration.rest import TIME, Client, npy, upload


def test_a_post_answers_the_whole_document(api: Api, client: Client) -> None:
    answer = api.post("inputs", json={"data": [1, 2.5], "model": "m", "tags": ["a"], "meta": {"k": {"n": [1, None]}}})
    assert answer.status_code == 201
    body = answer.json
    assert body.keys() == {
        "_id", "_created", "_updated", "_etag", "_status", "data", "model", "tags", "meta", "source", "owner",
    }  # fmt: skip
    assert (body["data"], body["model"], body["tags"]) == ([1.0, 2.5], "m", ["a"])
    assert (body["meta"], body["source"], body["owner"]) == ({"k": {"n": [1, None]}}, "rest", "admin")
    assert TIME.match(body["_created"])
    assert body["_created"] == body["_updated"]
    assert answer.headers["Location"].endswith(f"/api/v1/inputs/{body['_id']}")
    read = api.get(f"inputs/{body['_id']}")
    assert read.json == {name: value for name, value in body.items() if name != "_status"}
    assert read.headers["ETag"] == f'"{body["_etag"]}"'
    stored = database_of(client)["inputs"].find_one()
    assert stored is not None
    assert stored.keys() == body.keys() - {"_status"}


@pytest.mark.parametrize("path", ["inputs", "inputs/"])
def test_the_location_is_that_of_the_document(api: Api, path: str) -> None:
    answer = api.post(path, json={"data": 1})
    assert api.get(answer.headers["Location"].removeprefix("http://localhost")).json["_id"] == answer.json["_id"]


def test_a_list_is_stored_as_a_whole(api: Api) -> None:
    answer = api.post("inputs", json=[{"data": [number]} for number in range(1000)])
    assert answer.status_code == 201
    assert [item["data"] for item in answer.json["_items"]] == [[number] for number in range(1000)]
    assert len({item["_etag"] for item in answer.json["_items"]}) == 1000
    assert api.get("inputs?count=true&max_results=1").json["_meta"]["total"] == 1000


def test_a_list_of_one_is_answered_by_a_list(api: Api) -> None:
    answer = api.post("inputs", json=[{"data": [1]}])
    assert answer.status_code == 201
    assert answer.json.keys() == {"_status", "_items"}
    assert len(answer.json["_items"]) == 1
    wrong = api.post("inputs", json=[{"data": []}])
    assert wrong.status_code == 422
    assert wrong.json["_error"]["code"] == 422
    assert wrong.json["_items"] == [
        {"_status": "ERR", "_issues": {"data": "expected lists of one or more, got an empty list"}}
    ]


def test_a_list_with_something_wrong_stores_nothing(api: Api) -> None:
    answer = api.post("inputs", json=[{"data": [1]}, {"data": [[1], [2, 3]], "tags": "x"}, {"tags": []}])
    assert answer.status_code == 422
    assert answer.json["_status"] == "ERR"
    assert answer.json["_error"]["code"] == 422
    first, second, third = answer.json["_items"]
    assert first == {"_status": "OK"}
    assert second["_issues"] == {
        "data": "ragged: at [1] expected a list of 1, got a list of 2",
        "tags": "expected a list, got the string 'x'",
    }
    assert third["_issues"] == {"data": "required, got nothing"}
    assert api.get("inputs").json["_items"] == []


@pytest.mark.parametrize(
    ("body", "issues"),
    [
        ({}, {"data": "required, got nothing"}),
        ({"data": None}, {"data": "expected a value, got null"}),
        ({"data": {}}, {"data": "expected a tensor, or tensors by the names of a model's inputs"}),
        ({"data": {"a.b": [1]}}, {"data": "expected a tensor, or tensors by the names of a model's inputs"}),
        ({"data": {"a": [1], "b": []}}, {"data": "data.b: expected lists of one or more, got an empty list"}),
        ({"data": [1, "a"]}, {"data": "at [1]: expected a number, got the string 'a'"}),
        ({"data": {"dtype": "FP32", "shape": [2], "data": "AAAA"}}, {"data": "expected 8 bytes for FP32[2], got 3"}),
        (
            {"data": {"dtype": "FP32", "shape": [1], "data": "!"}},
            {"data": "expected data to be base64 of the bytes, or a flat list of values"},
        ),
        ({"data": 1, "owner": "eve"}, {"owner": "is set by the server"}),
        ({"data": 1, "source": "predict"}, {"source": "is set by the server"}),
        ({"data": 1, "_id": "0" * 24}, {"_id": "is set by the server"}),
        ({"data": 1, "_etag": "x"}, {"_etag": "no such field"}),
        ({"data": 1, "_created": "2026-01-01"}, {"_created": "no such field"}),
        ({"data": 1, "nope": 1, "$set": {}}, {"nope": "no such field", "$set": "no such field"}),
        ({"data": 1, "model": "../x"}, {"model": "expected a string that matches [A-Za-z0-9][A-Za-z0-9._-]{0,63}"}),
        ({"data": 1, "model": "m\n"}, {"model": "{0,63}, got the string 'm\\n'"}),
        ({"data": 1, "model": 5}, {"model": "expected a string, got the number 5"}),
        ({"data": 1, "tags": ["a", 5, ""]}, {"tags[1]": "expected a string, got the number 5"}),
        ({"data": 1, "tags": ["a"] * 101}, {"tags": "expected at most 100 long, got a list of 101"}),
        ({"data": 1, "meta": []}, {"meta": "expected an object, got a list of 0"}),
        ({"data": 1, "meta": {"$where": 1}}, {"meta": "expected keys without $ in front, dots and zero characters"}),
        ({"data": 1, "meta": {"a": [{"b.c": 1}]}}, {"meta": "expected keys without $ in front, dots"}),
        ({"data": 1, "meta": {"a": 2**63}}, {"meta": "expected numbers of at most 64 bits, got 9223372036854775808"}),
        ({"data": 1, "meta": {"a": "x" * 300_000}}, {"meta": "expected at most 262144 bytes"}),
    ],
)
def test_what_does_not_fit_is_a_422_that_names_the_field(api: Api, body: Any, issues: dict[str, str]) -> None:
    answer = api.post("inputs", json=body)
    assert answer.status_code == 422
    assert answer.json["_error"]["code"] == 422
    for field, reason in issues.items():
        assert reason in answer.json["_issues"][field]
    assert "exception" not in answer.json["_issues"]
    assert api.get("inputs").json["_items"] == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], {"body": "expected one document or more, got an empty list"}),
        ("x", {"body": "expected an object, got str"}),
        (5, {"body": "expected an object, got int"}),
        (None, {"body": "expected an object, got NoneType"}),
        (["{}", [], {"data": 1}], {"[0]": "expected an object, got str", "[1]": "expected an object, got list"}),
        ([{"data": 1}] * 1001, {"body": "expected at most 1000 documents, got 1001"}),
    ],
)
def test_a_body_of_another_kind(api: Api, body: Any, message: dict[str, str]) -> None:
    answer = api.post("inputs", data=json.dumps(body), content_type="application/json")
    assert answer.status_code == 422
    assert answer.json["_issues"] == message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"data": [NaN]}', "NaN is not JSON"),
        ('{"data": [1, -Infinity]}', "Infinity is not JSON"),
        ('{"data": [1e999]}', ""),
        ('{"data": ["\\ud800"]}', ""),
        (b'{"data": ["\xff"]}', ""),
        ("{", ""),
        ("", ""),
        ("[" * 5000, ""),
    ],
)
def test_what_is_not_json_is_a_422(api: Api, body: Any, reason: str) -> None:
    made = api.post("inputs", json={"data": [1]}).json
    for answer in (
        api.post("inputs", data=body, content_type="application/json"),
        api.post("jobs", data=body, content_type="application/json"),
        api.patch(f"inputs/{made['_id']}", data=body, content_type="application/json", headers={"If-Match": "*"}),
    ):
        assert (answer.status_code, answer.json["_error"]["message"]) == (422, "the body is not JSON")
        assert reason in answer.json["_issues"]["body"]
    assert api.get("inputs?count=true").json["_meta"]["total"] == 1


def test_a_body_of_another_type_or_size(client: Client, make_api: Callable[..., Api]) -> None:
    api = make_api(client, max_body_mb=1)
    path = f"inputs/{api.post('inputs', json={'data': [1]}).json['_id']}"
    for kwargs in ({"data": "{}", "content_type": "text/plain"}, {"data": "{}"}, {"data": {"tags": "[]"}}):
        answers = [api.patch(path, headers={"If-Match": "*"}, **kwargs), api.post("jobs", **kwargs)]
        for answer in answers:
            assert answer.status_code == 415
            assert answer.json["_error"]["message"].startswith("expected Content-Type application/json, got ")
    large = b'{"data": [1], "meta": {"a": "' + b"x" * 2**20 + b'"}}'
    for answer in (
        api.post("inputs", data=large, content_type="application/json"),
        api.patch(path, data=large, content_type="application/json", headers={"If-Match": "*"}),
        api.post("inputs", data={"file": (io.BytesIO(large), "x.npy")}),
    ):
        assert (answer.status_code, answer.json["_error"]["code"]) == (413, 413)
    assert api.get("inputs?count=true").json["_meta"]["total"] == 1


def test_a_row_of_over_8_mb_is_refused(api: Api) -> None:
    assert upload(api, npy(np.zeros(2**21, "f4"))).status_code == 201
    answer = upload(api, npy(np.zeros(2**21 + 1, "f4")))
    assert answer.status_code == 422
    assert answer.json["_issues"] == {"file": "expected at most 8388608 bytes a row, got 8388612"}


def test_a_tensor_may_be_given_packed(api: Api, client: Client) -> None:
    array = np.arange(100, dtype="<f4").reshape(4, 25) / 10
    body = {"dtype": "FP32", "shape": [4, 25], "data": base64.b64encode(array.tobytes()).decode()}
    answer = api.post("inputs", json={"data": body})
    assert answer.status_code == 201
    stored = database_of(client)["inputs"].find_one()
    assert stored is not None
    assert (stored["data"]["dtype"], stored["data"]["shape"]) == ("FP32", [4, 25])
    assert bytes(stored["data"]["data"]) == array.tobytes()
    # Shown with the digits of its own type, not as 0.10000000149011612.
    assert api.get(f"inputs/{answer.json['_id']}").text.find('"data":[[0.0,0.1,0.2,0.3') > 0


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("UINT64", [2**64 - 1]), ("BOOL", [True, False]), ("INT8", [-128]), ("BYTES", ["a", "é"]), ("FP16", [0.5])],
)
def test_every_kind_of_value_goes_there_and_back(api: Api, dtype: str, values: list[Any]) -> None:
    answer = api.post("inputs", json={"data": {"dtype": dtype, "shape": [len(values)], "data": values}})
    assert answer.status_code == 201
    assert answer.json["data"] == values
    assert api.get("inputs").json["_items"][0]["data"] == values


def test_where_the_model_is_known_the_row_must_fit_it(api: Api, client: Client, stub: Callable[..., Any]) -> None:
    stub(client, name="pair", inputs=[{"name": "x", "dtype": "INT32", "shape": [2]}])
    stub(client, name="later", state="loading")
    assert api.post("inputs", json={"data": [1, 2], "model": "pair"}).status_code == 201
    wrong = api.post("inputs", json={"data": [1, 2, 3], "model": "pair"})
    assert wrong.status_code == 422
    assert wrong.json["_issues"] == {"data": "expected INT32[2]: expected a list of 2, got a list of 3"}
    for model in ("later", "unknown"):
        assert api.post("inputs", json={"data": [1, 2, 3], "model": model}).status_code == 201


def test_long_tensors_are_outlined_in_lists_unless_projected(api: Api, client: Client) -> None:
    values = [[float(i) for i in range(600)], [float(i) for i in range(600)]]
    rest = api.post("inputs", json={"data": {"a": values, "b": [1]}}).json["_id"]
    # Another program's, as nested arrays.
    plain = database_of(client)["inputs"].insert_one({"data": values}).inserted_id
    outline = {"dtype": "FP64", "shape": [2, 600]}
    listed = {item["_id"]: item["data"] for item in api.get("inputs").json["_items"]}
    assert listed == {rest: {"a": outline, "b": [1]}, str(plain): outline}
    shown = api.get("inputs", query_string={"projection": '{"data": 1}'}).json["_items"]
    assert {item["_id"]: item["data"] for item in shown} == {rest: {"a": values, "b": [1]}, str(plain): values}
    hidden = api.get("inputs", query_string={"projection": '{"tags": 0}'}).json["_items"]
    assert {item["_id"]: item["data"] for item in hidden} == listed
    assert api.get(f"inputs/{plain}").json["data"] == values
    lines = api.get("inputs", headers={"Accept": "application/x-ndjson"}).text.splitlines()
    assert [json.loads(line)["data"] for line in lines] == [{"a": values, "b": [1]}, values]


def test_1024_values_are_still_shown(api: Api) -> None:
    api.post("inputs", json=[{"data": list(range(1024))}, {"data": list(range(1025))}])
    shown = [item["data"] for item in api.get("inputs").json["_items"]]
    assert shown == [list(range(1024)), {"dtype": "INT64", "shape": [1025]}]


def test_tags_and_meta_can_be_changed_and_nothing_else(api: Api) -> None:
    made = api.post("inputs", json={"data": [1], "model": "m", "tags": ["a"], "meta": {"k": 1, "l": 2}}).json
    path, match = f"inputs/{made['_id']}", {"If-Match": made["_etag"]}
    changed = api.patch(path, json={"meta": {"k": 5}}, headers=match)
    assert changed.status_code == 200
    assert changed.json["meta"] == {"k": 5}
    assert (changed.json["tags"], changed.json["data"]) == (["a"], [1])
    assert changed.json["_etag"] != made["_etag"]
    assert changed.json["_created"] == made["_created"]
    assert changed.headers["ETag"] == f'"{changed.json["_etag"]}"'
    assert api.get(path).json == {k: v for k, v in changed.json.items() if k != "_status"}
    for field, value, reason in [
        ("data", [2], "cannot be changed"),
        ("model", "n", "cannot be changed"),
        ("owner", "eve", "is set by the server"),
        ("source", "x", "is set by the server"),
        ("_id", "0" * 24, "is set by the server"),
        ("nope", 1, "no such field"),
        ("meta", None, "expected a value, got null"),
        ("meta.k", 1, "no such field"),
    ]:
        answer = api.patch(path, json={field: value}, headers={"If-Match": "*"})
        assert (answer.status_code, answer.json["_issues"]) == (422, {field: reason})
        assert answer.json["_error"] == {"code": 422, "message": "the change does not fit"}
    assert api.get(path).json["_etag"] == changed.json["_etag"]


@pytest.mark.parametrize("body", ["[]", '"x"', "null", "5", '[{"tags": []}]'])
def test_a_change_is_an_object(api: Api, body: str) -> None:
    made = api.post("inputs", json={"data": [1]}).json
    answer = api.patch(
        f"inputs/{made['_id']}", data=body, content_type="application/json", headers={"If-Match": made["_etag"]}
    )
    assert answer.status_code == 422
    assert answer.json["_issues"]["body"].startswith("expected an object, got")


def test_delete(api: Api) -> None:
    made = api.post("inputs", json={"data": [1]}).json
    path = f"inputs/{made['_id']}"
    assert api.delete(path).status_code == 428
    assert api.delete(path, headers={"If-Match": "other"}).status_code == 412
    deleted = api.delete(path, headers={"If-Match": made["_etag"]})
    assert (deleted.status_code, deleted.data) == (204, b"")
    for method in ("get", "delete", "patch"):
        answer = getattr(api, method)(path, headers={"If-Match": "*"}, json={} if method == "patch" else None)
        assert (answer.status_code, answer.json["_error"]["code"]) == (404, 404)
