"""Predict: every way in which a request can be wrong, told with the place, and nothing stored of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Api
from tests.integration.rest import ROW, URL, Client, nothing_stored


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("models/other/predict", "there is no model 'other'; there are: sums"),
        ("models/sums/versions/9/predict", "sums has no version 9; there are: 1"),
        ("models/sums/versions/99999999999999999999/predict", "sums has no version 99999999999999999999"),
        ("models/sums/aliases/prod/predict", "sums has no alias 'prod'; there are: next, stable"),
        ("models/%00/predict", "there is no model '\\x00'"),
        ("models/$where/predict", "there is no model '$where'"),
    ],
)
def test_what_is_not_there_is_a_404_that_names_what_is(
    api: Api, client: Client, serve: Callable[..., Any], path: str, message: str
) -> None:
    serve(aliases={"stable": 1, "next": 1})
    answer = api.post(path, json={"instances": "even if the body is wrong"})
    assert (answer.status_code, answer.json["_error"]["code"]) == (404, 404)
    assert answer.json["_error"]["message"].startswith(message)
    assert nothing_stored(client)


@pytest.mark.parametrize("state", ["loading", "failed", "retired"])
def test_a_model_that_is_not_available_is_a_409_with_its_state(
    api: Api, client: Client, serve: Callable[..., Any], state: str
) -> None:
    serve(state=state, aliases={"a": 1})
    for path in (URL, "models/sums/versions/1/predict", "models/sums/aliases/a/predict"):
        answer = api.post(path, json={"instances": [ROW]})
        assert (answer.status_code, answer.json["_error"]["message"]) == (409, f"sums:1 is {state}")


NOT_JSON = [
    ("{", "body", None),
    ("", "body", None),
    (b'{"instances": [["\xff"]]}', "body", None),
    ('{"instances": [[1, 2, NaN], [1, 2, 3]]}', "NaN is not JSON", "instances[0]"),
    ('{"instances": [[1, 2, 3], [1, -Infinity, 3]]}', "Infinity is not JSON", "instances[1]"),
    ('{"instances": [[1, 2, 1e999]]}', "body", None),
    ('{"instances": [[1, 2, 3]], "meta": [{"a": NaN}]}', "NaN is not JSON", None),
    ('{"instances": ' + "[" * 5000 + "]" * 5000 + "}", "body", None),
]


@pytest.mark.parametrize(("body", "reason", "place"), NOT_JSON)
def test_what_is_not_json_is_a_422(
    api: Api, client: Client, serve: Callable[..., Any], body: Any, reason: str, place: str | None
) -> None:
    serve()
    answer = api.post(URL, data=body, content_type="application/json")
    assert answer.status_code == 422
    assert answer.json["_error"]["message"] == "the body is not JSON"
    assert reason == "body" or reason in answer.json["_issues"]["body"]
    if place is not None:
        assert "x expected FP32[3]: at [" in answer.json["_issues"][place]
        assert "expected a finite number, got" in answer.json["_issues"][place]
    assert nothing_stored(client)


@pytest.mark.parametrize(
    ("body", "issues"),
    [
        ([], {"body": "expected an object, got a list of 0"}),
        ("x", {"body": "expected an object, got the string 'x'"}),
        ({}, {"instances": "expected instances (rows) or inputs (ids of stored inputs), got neither"}),
        ({"instances": [ROW], "inputs": ["0" * 24]}, {"instances": "got both"}),
        ({"instances": []}, {"instances": "expected one row or more, got an empty list"}),
        ({"instances": {}}, {"instances": "expected a list of rows, got an object"}),
        ({"instances": None}, {"instances": "expected a list of rows, got null"}),
        ({"instances": [ROW] * 10_001}, {"instances": "expected at most 10000 rows, got 10001"}),
        ({"instances": [ROW, [1, 2]]}, {"instances[1]": "x expected FP32[3]: expected a list of 3, got a list of 2"}),
        ({"instances": [[1, [2], 3]]}, {"instances[0]": "at [1] expected a single value, got a list of 1"}),
        ({"instances": [[[1, 2, 3]]]}, {"instances[0]": "expected a list of 3, got a list of 1"}),
        ({"instances": [5]}, {"instances[0]": "expected a list of 3, got the number 5"}),
        ({"instances": [[1, "2", 3]]}, {"instances[0]": "at [1]: expected a number, got the string '2'"}),
        ({"instances": [[1, True, 3]]}, {"instances[0]": "at [1]: expected a number, got true"}),
        ({"instances": [[1, None, 3]]}, {"instances[0]": "at [1]: expected a number, got null"}),
        ({"instances": [[1, 1e39, 3]]}, {"instances[0]": "at [1]: 1e+39 is too large for FP32"}),
        ({"instances": [{"z": ROW}]}, {"instances[0].z": "no such input; the model takes x"}),
        ({"instances": [ROW], "row": 1}, {"row": "no such field; there are instances, inputs, meta, store"}),
        ({"instances": [ROW], "store": "some"}, {"store": "expected one of all, result, none, got the string 'some'"}),
        ({"instances": [ROW], "store": ["all"]}, {"store": "expected one of all, result, none, got a list of 1"}),
        ({"instances": [ROW], "store": None}, {"store": "expected one of all, result, none, got null"}),
        ({"instances": [ROW], "timeout_ms": 0}, {"timeout_ms": "expected a whole number from 1 to 600000"}),
        ({"instances": [ROW], "timeout_ms": 1e3}, {"timeout_ms": "got the number 1000.0"}),
        ({"instances": [ROW], "timeout_ms": True}, {"timeout_ms": "got true"}),
        ({"instances": [ROW], "timeout_ms": 2**62}, {"timeout_ms": "expected a whole number from 1"}),
        ({"instances": [ROW], "outputs": "y"}, {"outputs": "expected a list of output names, got the string 'y'"}),
        ({"instances": [ROW], "outputs": []}, {"outputs": "expected some of y, got an empty list"}),
        ({"instances": [ROW], "outputs": ["q"]}, {"outputs": "expected some of y, got q"}),
        ({"instances": [ROW], "outputs": [["y"]]}, {"outputs": "expected a list of output names"}),
        ({"instances": [ROW], "meta": {}}, {"meta": "expected a list with an object for each row, got an object"}),
        ({"instances": [ROW], "meta": []}, {"meta": "expected 1 objects, got 0"}),
        ({"instances": [ROW], "meta": [{}, {}]}, {"meta": "expected 1 objects, got 2"}),
        ({"instances": [ROW], "meta": ["a"]}, {"meta[0]": "expected an object, got the string 'a'"}),
        ({"instances": [ROW], "meta": [{"$a": 1}]}, {"meta[0]": "expected keys without $ in front"}),
        ({"instances": [ROW], "meta": [{"a": {"b.c": 1}}]}, {"meta[0]": "expected keys without $ in front, dots"}),
        ({"instances": [ROW], "meta": [{"a": 2**63}]}, {"meta[0]": "expected numbers of at most 64 bits"}),
        ({"instances": [ROW], "meta": [{"a": "x" * 300_000}]}, {"meta[0]": "expected at most 262144 bytes"}),
        ({"inputs": []}, {"inputs": "expected a list of 1 to 10000 ids, got a list of 0"}),
        ({"inputs": "0" * 24}, {"inputs": "expected a list of 1 to 10000 ids, got the string"}),
        ({"inputs": ["0" * 24, "x", 5]}, {"inputs[1]": "expected the id of an input, got the string 'x'"}),
        ({"inputs": [{"$gt": ""}]}, {"inputs[0]": "expected the id of an input, got an object"}),
    ],
)
def test_what_does_not_fit_is_a_422_that_names_the_place(
    api: Api, client: Client, serve: Callable[..., Any], body: Any, issues: dict[str, str]
) -> None:
    serve()
    answer = api.post(URL, data=json.dumps(body), content_type="application/json")
    assert (answer.status_code, answer.json["_error"]["code"]) == (422, 422)
    for place, reason in issues.items():
        assert reason in answer.json["_issues"][place]
    assert nothing_stored(client)


def test_a_deep_meta_is_refused(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    for depth in (17, 900):
        body = '{"instances": [[1,2,3]], "meta": [{"a": ' + "[" * depth + "]" * depth + "}]}"
        answer = api.post(URL, data=body, content_type="application/json")
        assert answer.status_code == 422
        assert answer.json["_issues"] == {"meta[0]": "expected at most 16 levels"}


def test_bodies_of_another_type_or_size(client: Client, make_api: Callable[..., Api], stub: Callable[..., Any]) -> None:
    stub(client)
    api = make_api(client, max_body_mb=1)
    for kwargs in (
        {"data": "{}", "content_type": "text/plain"},
        {"data": {"instances": "[]"}},
        {"data": "{}"},
        {"data": "{}", "content_type": "application/jsonp"},
    ):
        answer = api.post(URL, **kwargs)
        assert answer.status_code == 415
        assert answer.json["_error"]["message"].startswith("expected Content-Type application/json")
    rows = [[1, 2, 3]] * 9000
    assert len(json.dumps({"instances": rows, "x": " " * 2**20})) > 2**20
    answer = api.post(URL, data=json.dumps({"instances": rows}) + " " * 2**20, content_type="application/json")
    assert (answer.status_code, answer.json["_error"]["code"]) == (413, 413)
    assert nothing_stored(client)
    assert api.post(URL, json={"instances": rows}).status_code == 200
