"""/openapi.json over HTTP, and the documents of models held against what predict takes and answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.openapi import document
from ml.database.client import database_of
from tests.conftest import Api
from tests.integration.rest import Client, tensor
from tests.snapshots.renew import plain_app

PREDICT = "/api/v1/models/{name}/predict"


def schema_at(openapi: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": openapi["components"]})


def taken(openapi: dict[str, Any], body: Any) -> bool:
    content = openapi["paths"][PREDICT]["post"]["requestBody"]["content"]
    return bool(schema_at(openapi, content["application/json"]["schema"]).is_valid(body))


def problems(openapi: dict[str, Any], reply: Any) -> list[str]:
    content = openapi["paths"][PREDICT]["post"]["responses"]["200"]["content"]
    errors = schema_at(openapi, content["application/json"]["schema"]).iter_errors(reply)
    return [f"{error.json_path}: {error.message}" for error in errors]


def of_model(api: Api, name: str = "sums") -> dict[str, Any]:
    answer = api.get(f"/openapi.json?model={name}")
    assert answer.status_code == 200, answer.text
    openapi: dict[str, Any] = answer.json
    return openapi


@pytest.fixture
def nowhere() -> Api:
    """An app whose database is not there."""
    app = plain_app()
    return Api(app.test_client(), "alm_key-of-a-snapshot")


def test_it_is_there_without_a_key_and_without_a_database(nowhere: Api) -> None:
    answer = nowhere.as_caller(None).get("/openapi.json")
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert answer.json == document(nowhere.http.application)
    assert answer.headers["X-Request-ID"]
    same = nowhere.as_caller(None).get("/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert (same.status_code, same.data) == (304, b"")
    assert same.headers["ETag"] == answer.headers["ETag"]
    other = nowhere.get("/openapi.json", headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.data) == (200, answer.data)


def test_it_is_made_once(nowhere: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    first = nowhere.get("/openapi.json").data
    monkeypatch.setattr("api.openapi.document", None)
    assert nowhere.get("/openapi.json").data == first


def test_models_are_no_strangers_business(api: Api, serve: Callable[..., Any], nowhere: Api) -> None:
    serve()
    for token in (None, "wrong"):
        for name in ("sums", "nope", ""):
            answer = api.as_caller(token).get(f"/openapi.json?model={name}")
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"]
            assert "sums" not in answer.text
    assert api.as_caller("reader:eve").get("/openapi.json?model=sums").status_code == 200
    assert nowhere.get("/openapi.json?model=sums").status_code == 503


def test_what_is_not_understood(api: Api, serve: Callable[..., Any]) -> None:
    serve()
    serve(name="young", state="loading")
    unknown = api.get("/openapi.json?model=nope")
    assert (unknown.status_code, unknown.json["_error"]["code"]) == (404, 404)
    assert "there are: sums" in unknown.json["_error"]["message"]
    loading = api.get("/openapi.json?model=young")
    assert loading.status_code == 409
    assert "young:1 is loading" in loading.json["_error"]["message"]
    for query, name in (("models=sums", "models"), ("model=sums&model=sums", "model")):
        answer = api.get(f"/openapi.json?{query}")
        assert (answer.status_code, list(answer.json["_issues"])) == (400, [name])


KINDS: dict[str, tuple[dict[str, Any], list[Any], list[Any]]] = {
    "one input": (
        {},
        [[1, 2.5, -3], {"x": [1, 2, 3]}],
        [[1, 2], [1, 2, 3, 4], [1, 2, "3"], [1, 2, None], [1, 2, True], [[1, 2, 3]], 5, {"y": [1, 2, 3]}, [1, 2, 1e39],
         {"x": [1, 2, 3], "y": 1}],
    ),
    "a single value": (
        {"inputs": [tensor("x", "FP64")], "outputs": [tensor("y", "FP64")]},
        [1, 0.5, {"x": 2}],
        [[1], "1", True, {}],
    ),
    "a free time axis": (
        {"inputs": [tensor("x", "FP32", -1, 2)]},
        [[[1, 2]], {"x": [[3, 4]]}],
        [[], [[1]], [1, 2], [[1, 2], [3]]],
    ),
    "integers": (
        {"inputs": [tensor("x", "INT8", 2)], "outputs": [tensor("y", "INT8", 2)]},
        [[1, -128], [127, 3.0]],
        [[1, 128], [-129, 0], [1.5, 0], [True, 0], ["1", 0]],
    ),
    "large integers": (
        {"inputs": [tensor("x", "UINT64", 1)]},
        [[2**64 - 1], [0]],
        [[-1], [2**64]],
    ),
    "half floats": ({"inputs": [tensor("x", "FP16", 1)], "outputs": [tensor("y", "FP16", 1)]}, [[65504]], [[70000]]),
    "booleans": (
        {"inputs": [tensor("x", "BOOL", 2)], "outputs": [tensor("y", "BOOL", 2)]},
        [[True, False]],
        [[1, 0], ["true", True]],
    ),
    "strings": (
        {"inputs": [tensor("x", "BYTES", 1)]},
        [["good"], {"x": ["bad"]}],
        [[1], "good", [True]],
    ),
    "two inputs and outputs": (
        {
            "inputs": [tensor("a", "FP32", 2), tensor("b", "INT32")],
            "outputs": [tensor("y", "FP32", 2), tensor("z", "FP32", 1)],
        },
        [{"a": [1, 2], "b": 3}],
        [{"a": [1, 2]}, [1, 2], {"a": [1, 2], "b": 1.5}, {"a": [1], "b": 1}, {"a": [1, 2], "b": 1, "c": 1}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_models_document_is_what_it_takes_and_answers(api: Api, serve: Callable[..., Any], kind: str) -> None:
    made, good, bad = KINDS[kind]
    serve(**made)
    openapi = of_model(api)
    OpenAPIV31SpecValidator(openapi).validate()
    for row in good:
        body = {"instances": [row], "store": "none"}
        answer = api.post("models/sums/predict", json=body)
        assert answer.status_code == 200, answer.text
        assert taken(openapi, body), row
        assert problems(openapi, answer.json) == []
    for row in bad:
        # As text: what is no JSON to others is none of our matter here.
        body = {"instances": [row], "store": "none"}
        answer = api.post("models/sums/predict", data=json.dumps(body), content_type="application/json")
        assert answer.status_code == 422, (row, answer.text)
        assert not taken(openapi, body), row


def test_replies_are_exact(api: Api, serve: Callable[..., Any]) -> None:
    serve(classes=["cat", "dog"])
    openapi = of_model(api)
    answer = api.post("models/sums/predict", json={"instances": [[1, 2, 3]], "meta": [{"a": 1}]})
    assert problems(openapi, answer.json) == []
    assert answer.json["predictions"][0].keys() == {"_id", "input", "output", "label", "score"}
    for change in (
        {"label": "cow"},
        {"output": [1]},
        {"output": {"y": [1, 2]}},
        {"output": ["1", 2]},
        {"other": 1},
        {"_id": 5},
    ):
        assert problems(openapi, {**answer.json, "predictions": [{**answer.json["predictions"][0], **change}]})
    assert problems(openapi, {**answer.json, "model": "other"})
    assert problems(openapi, {**answer.json, "version": 2})
    assert problems(openapi, {**answer.json, "predictions": [{"output": [1, 2], "label": "cat"}]})
    nothing = {"_id": answer.json["predictions"][0]["_id"]}
    assert problems(openapi, {**answer.json, "predictions": [nothing]})
    infinite = {**answer.json["predictions"][0], "output": [None, 1], "score": None}
    assert problems(openapi, {**answer.json, "predictions": [infinite]}) == []


@pytest.mark.parametrize(
    ("outputs", "classes", "fields"),
    [
        ([tensor("y", "FP32", 2)], None, set()),
        ([tensor("y", "FP32", 2)], ["a", "b"], {"label", "score"}),
        ([tensor("y", "FP32", 1)], ["a", "b"], {"label", "score"}),
        ([tensor("y", "FP32", 2), tensor("z", "FP32", 2)], ["a", "b"], set()),
        ([tensor("y", "FP32", 3)], ["a", "b"], set()),
        ([tensor("y", "BOOL", 2)], ["a", "b"], set()),
    ],
)
def test_a_label_is_told_where_there_is_one(
    api: Api, serve: Callable[..., Any], outputs: Any, classes: Any, fields: set[str]
) -> None:
    serve(outputs=outputs, classes=classes)
    openapi = of_model(api)
    prediction = openapi["components"]["schemas"]["Prediction"]
    assert prediction["properties"].keys() - {"_id", "input", "output"} == fields
    assert set(prediction["required"]) == {"output", *fields}
    answer = api.post("models/sums/predict", json={"instances": [[1, 2, 3]], "store": "none"})
    assert answer.status_code == 200
    assert problems(openapi, answer.json) == []


def test_some_of_several_outputs(api: Api, serve: Callable[..., Any]) -> None:
    serve(outputs=[tensor("y", "FP32", 2), tensor("z", "FP32", 1)])
    openapi = of_model(api)
    for outputs in (["y"], ["z"], ["z", "y"]):
        body = {"instances": [[1, 2, 3]], "outputs": outputs, "store": "none"}
        assert taken(openapi, body)
        assert problems(openapi, api.post("models/sums/predict", json=body).json) == []
    assert not taken(openapi, {"instances": [[1, 2, 3]], "outputs": ["q"]})
    assert not taken(openapi, {"instances": [[1, 2, 3]], "outputs": []})


def test_stored_inputs_and_other_fields_are_taken_too(api: Api, serve: Callable[..., Any]) -> None:
    serve()
    openapi = of_model(api)
    stored = api.post("inputs", json={"data": [1, 2, 3]}).json["_id"]
    good: dict[str, Any] = {"inputs": [stored], "store": "result", "timeout_ms": 5000, "meta": [None]}
    answer = api.post("models/sums/predict", json=good)
    assert answer.status_code == 200
    assert taken(openapi, good)
    assert problems(openapi, answer.json) == []
    for change in ({"instances": [[1, 2, 3]]}, {"store": "some"}, {"timeout_ms": 0}, {"meta": {}}, {"other": 1}):
        assert api.post("models/sums/predict", json={**good, **change}).status_code == 422
        assert not taken(openapi, {**good, **change})


def test_only_this_model_and_this_version(api: Api, serve: Callable[..., Any]) -> None:
    serve()
    serve(version=2, inputs=[tensor("x", "FP32", 5)])
    paths = of_model(api)["paths"]
    limits = {
        parameter["name"]: parameter["schema"]["enum"]
        for parameter in paths["/api/v1/models/{name}/versions/{version}/predict"]["parameters"]
        if "name" in parameter
    }
    assert limits == {"name": ["sums"], "version": [2]}
    assert "/api/v1/models/{name}/aliases/{alias}/predict" not in paths


def test_another_default_version_is_another_document(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    before = api.get("/openapi.json?model=sums")
    plain = api.get("/openapi.json").headers["ETag"]
    tag = {"If-None-Match": before.headers["ETag"]}
    assert api.get("/openapi.json?model=sums", headers=tag).status_code == 304
    serve(version=2, inputs=[tensor("x", "FP32", 5)])
    api.http.application.extensions["service"].registry.refresh()
    after = api.get("/openapi.json?model=sums", headers=tag)
    assert after.status_code == 200
    assert taken(after.json, {"instances": [[1, 2, 3, 4, 5]]})
    database_of(client)["models"].update_one({"version": 2}, {"$set": {"classes": ["a", "b"]}})
    api.http.application.extensions["service"].registry.refresh()
    assert "label" in of_model(api)["components"]["schemas"]["Prediction"]["properties"]
    assert api.get("/openapi.json").headers["ETag"] == plain


def test_many_models_do_not_fill_the_memory(
    api: Api, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.openapi.MOST_KEPT", 2)
    plain = api.get("/openapi.json")
    for number in range(5):
        serve(name=f"m{number}")
        assert api.get(f"/openapi.json?model=m{number}").json["info"]["title"] == f"Almanac: m{number}"
    assert len(api.http.application.extensions["openapi"]) <= 3
    assert api.get("/openapi.json").data == plain.data
