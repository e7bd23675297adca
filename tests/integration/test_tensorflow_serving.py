"""TensorFlow Serving's REST API as its documentation shows it, and what Almanac keeps of it."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from werkzeug.test import Client as Wsgi

from ml.database.blobs import Blobs
from ml.database.client import database_of
from ml.database.documents import stamp_new
from tests.conftest import Api, add_stub
from tests.integration.dialects.tensorflow_serving import problem
from tests.integration.rest import ROW, Client, nothing_stored, stored, tensor


def half_plus(client: Client, directory: Path, name: str, added: float, version: int = 123) -> None:
    """A model that halves a number and adds another, as TensorFlow Serving's examples have it."""
    constants = [
        onnx.helper.make_node("Constant", [], [of], value_float=value)
        for of, value in (("half", 0.5), ("b", float(added)))
    ]
    steps = [
        onnx.helper.make_node("Mul", ["input_0", "half"], ["ax"]),
        onnx.helper.make_node("Add", ["ax", "b"], ["output_0"]),
    ]
    ends = [
        [onnx.helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, [None])] for end in ("input_0", "output_0")
    ]
    graph = onnx.helper.make_graph([*constants, *steps], name, *ends)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    (directory / name).mkdir()
    onnx.save(model, directory / name / "model.onnx")
    document = add_stub(
        client, directory, name=name, version=version, inputs=[tensor("x", "FP32")], outputs=[tensor("y", "FP32")]
    )
    artefact = Blobs(database_of(client)).put_directory(directory / name, "onnx.tar")
    change = {"executor": "onnx", "artefacts": {"onnx": artefact}}
    database_of(client)["models"].update_one({"_id": document["_id"]}, {"$set": change})


def curl(api: Api, path: str, data: str | None = None, **headers: str) -> Any:
    """As `curl [-d data]` sends it; the answer's status and body, in which NaN and infinities are tokens."""
    sent = {"Content-Type": "application/x-www-form-urlencoded"} if data is not None else {}
    answer = (api.get if data is None else api.post)(path, data=data, headers={**sent, **headers})
    assert answer.mimetype == "application/json"
    assert answer.headers["X-Request-ID"]
    return answer.status_code, json.loads(answer.data)


def test_the_documentations_example(api: Api, client: Client, tmp_path: Path) -> None:
    half_plus(client, tmp_path, "half_plus_three", 3)
    available = {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert curl(api, "/v1/models/half_plus_three") == (200, {"model_version_status": [available]})
    path = "/v1/models/half_plus_three:predict"
    assert curl(api, path, '{"instances": [1.0,2.0,5.0]}') == (200, {"predictions": [3.5, 4.0, 5.5]})
    body = '{"signature_name": "tensorflow/serving/regress", "examples": [{"x": 1.0}, {"x": 2.0}]}'
    assert curl(api, "/v1/models/half_plus_three:regress", body) == (200, {"results": [3.5, 4.0]})
    missing = {"error": "Servable not found for request: Latest(half)"}
    assert curl(api, "/v1/models/half:predict", '{"instances": [1.0,5.0]}') == (404, missing)


def test_half_plus_two_in_every_form(api: Api, client: Client, tmp_path: Path) -> None:
    half_plus(client, tmp_path, "half_plus_two", 2)
    path = "/v1/models/half_plus_two:predict"
    for sent in ("[1.0, 2.0, 5.0]", "[1, 2, 5]", '[{"x": 1}, {"x": 2.0}, {"x": 5}]'):
        assert curl(api, path, f'{{"instances": {sent}}}') == (200, {"predictions": [2.5, 3.0, 4.5]})
    for sent in ("[1.0, 2.0, 5.0]", '{"x": [1.0, 2, 5]}'):
        assert curl(api, path, f'{{"inputs": {sent}}}') == (200, {"outputs": [2.5, 3.0, 4.5]})
    code, found = curl(api, path, '{"instances": [NaN, Infinity, -Infinity, 0.1]}')
    assert code == 200
    assert math.isnan(found["predictions"][0])
    assert found["predictions"][1:] == [math.inf, -math.inf, 2.05]
    raw = api.post(path, data='{"inputs": [NaN, Infinity, -Infinity, 0.1]}').data
    assert raw == b'{"outputs": [NaN,Infinity,-Infinity,2.05]}\n'


def test_what_is_asked_is_found_again(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve(version=2, aliases={"stable": 2})
    alice = api.as_caller("user:alice")
    code, found = curl(
        alice, "/v1/models/sums:predict", '{"instances": [[1, 2, 3], [4, 5, 6.5]]}', **{"X-Request-ID": "r-1"}
    )
    assert (code, found) == (200, {"predictions": [[6.0, 7.0], [15.5, 16.5]]})
    results = alice.get('results?where={"protocol":"tensorflow_serving","request":"r-1"}').json["_items"]
    assert [result["output"] for result in results] == [{"y": [6.0, 7.0]}, {"y": [15.5, 16.5]}]
    assert {(result["owner"], result["model"], result["version"], result["status"]) for result in results} == {
        ("alice", "sums", 2, "succeeded")
    }
    rows = [alice.get(f"inputs/{result['input']}").json for result in results]
    assert [(row["data"], row["source"], row["owner"]) for row in rows] == [
        ([1.0, 2.0, 3.0], "predict", "alice"),
        ([4.0, 5.0, 6.5], "predict", "alice"),
    ]
    assert api.as_caller("user:bob").get("results").json["_items"] == []
    answer = alice.post("/v1/models/sums:predict", data='{"inputs": [[0, 0, 1]]}')
    (result,) = alice.get(f'results?where={{"request":"{answer.headers["X-Request-ID"]}"}}').json["_items"]
    assert result["output"] == {"y": [1.0, 2.0]}


def test_what_is_not_finite_is_kept_as_it_is(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    code, found = curl(api, "/v1/models/sums:predict", '{"instances": [[NaN, 1, 2], [Infinity, 1, 2]]}')
    assert code == 200
    assert math.isnan(found["predictions"][0][0])
    assert found["predictions"][1] == [math.inf, math.inf]
    rows, results = stored(client, "inputs"), stored(client, "results")
    assert math.isnan(rows[0]["data"][0])
    assert rows[1]["data"] == [math.inf, 1, 2]
    assert math.isnan(results[0]["output"]["y"][0])
    # In JSON there are no such numbers; and what other protocols refuse is not scored by them.
    assert api.get(f"inputs/{rows[0]['_id']}").json["data"] == [None, 1.0, 2.0]
    again = api.post("models/sums/predict", json={"inputs": [str(rows[0]["_id"])]})
    assert again.json["_issues"] == {"inputs[0]": "expected FP32[3]: expected a finite number, got NaN"}


def test_which_version_answers(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    for version in (1, 2, 3):
        serve(version=version, add=100.0 * version, aliases={"canary": 1} if version == 3 else {})
    body = '{"instances": [[0, 0, 0]]}'
    for which, added in (("", 300), ("/versions/2", 200), ("/labels/canary", 100)):
        assert curl(api, f"/v1/models/sums{which}:predict", body)[1] == {"predictions": [[added, added + 1.0]]}
    assert curl(api, "/v1/models/s%75ms/labels/can%61ry:predict", body)[1] == {"predictions": [[100.0, 101.0]]}
    assert [result["version"] for result in stored(client, "results")] == [3, 2, 1, 1]
    for path, code, text in (
        ("sums/versions/9:predict", 404, "Servable not found for request: Specific(sums, 9)"),
        ("Sums:predict", 404, "Servable not found for request: Latest(Sums)"),
        ("sums/labels/nope:predict", 400, "Unrecognized servable version label: nope"),
        ("none/labels/nope:predict", 400, "Unrecognized servable version label: nope"),
        (f"sums/versions/{2**63}:predict", 400, f"Failed to convert version: {2**63} to numeric."),
    ):
        assert curl(api, f"/v1/models/{path}", body) == (code, {"error": text})


def test_paths_are_matched_in_any_case(api: Api, serve: Callable[..., Any]) -> None:
    serve(aliases={"Stable": 1})
    wsgi = Wsgi(api.http.application)  # the recorder knows paths as the document has them
    for path in (
        "/V1/MODELS/sums:PREDICT",
        "/v1/Models/sums/Versions/1:predict",
        "/v1/models/sums/LABELS/Stable:Predict",
    ):
        answer = wsgi.post(path, data='{"instances": [[1, 2, 3]]}', headers=api.headers)
        assert answer.json == {"predictions": [[6.0, 7.0]]}
    assert wsgi.get("/V1/models/sums/METADATA", headers=api.headers).status_code == 200
    for path, code in (("/V1/models/SUMS:predict", 404), ("/v1/models/sums/labels/stable:predict", 400)):
        answer = wsgi.post(path, data='{"instances": [[1, 2, 3]]}', headers=api.headers)
        assert (answer.status_code, list(answer.json or {})) == (code, ["error"])
    assert list(wsgi.get("/V1/MODELS/sums/nope", headers=api.headers).json or {}) == ["error"]


def test_the_states_of_versions(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    for version, state in ((1, "retired"), (2, "available"), (3, "loading")):
        serve(version=version, state=state, aliases={"canary": 2})
    database_of(client)["models"].insert_one(
        stamp_new({"name": "bad", "version": 1, "state": "failed", "error": "why"}, "admin")
    )

    def states(path: str) -> Any:
        code, found = curl(api, f"/v1/models/{path}")
        assert code == 200
        return [(status["version"], status["state"]) for status in found["model_version_status"]]

    assert states("sums") == [("3", "LOADING"), ("2", "AVAILABLE"), ("1", "END")]
    assert states("sums/versions/1") == [("1", "END")]
    assert states("sums/labels/canary") == [("2", "AVAILABLE")]
    assert states("bad") == [("1", "END")]
    for path, code, text in (
        ("none", 404, "Could not find any versions of model none"),
        ("sums/versions/7", 404, "Could not find version 7 of model sums"),
        ("sums/labels/none", 400, "Unrecognized servable version label: none"),
        (f"sums/versions/{2**70}", 400, f"Failed to convert version: {2**70} to numeric."),
        ("none/metadata", 404, "Servable not found for request: Latest(none)"),
        ("sums/versions/3/metadata", 404, "Servable not found for request: Specific(sums, 3): sums:3 is loading"),
    ):
        assert curl(api, f"/v1/models/{path}") == (code, {"error": text})
    for version, state in ((1, "retired"), (3, "loading")):
        path = f"/v1/models/sums/versions/{version}:predict"
        text = f"Servable not found for request: Specific(sums, {version}): sums:{version} is {state}"
        assert curl(api, path, '{"instances": [[1, 2, 3]]}') == (404, {"error": text})


def test_metadata(api: Api, serve: Callable[..., Any]) -> None:
    serve(version=4, aliases={"stable": 4})
    found = [curl(api, f"/v1/models/sums{which}/metadata") for which in ("", "/versions/4", "/labels/stable")]
    assert found[0] == found[1] == found[2]
    code, body = found[0]
    assert code == 200
    assert body["model_spec"] == {"name": "sums", "signature_name": "", "version": "4"}
    signature = body["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert [dim["size"] for dim in signature["inputs"]["x"]["tensor_shape"]["dim"]] == ["-1", "3"]
    assert signature["outputs"]["y"]["dtype"] == "DT_FLOAT"


def test_several_inputs_and_outputs_and_strings(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    """The stub counts the bytes of strings and adds up numbers."""
    serve(
        inputs=[tensor("tag", "BYTES"), tensor("signal", "FP32", 5), tensor("sensor", "INT32", 2, 2)],
        outputs=[tensor("p", "FP32", 2), tensor("q", "INT64")],
    )
    rows = [
        {"tag": {"b64": "Zm8A"}, "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
        {"tag": "bar!", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    path = "/v1/models/sums:predict"
    assert curl(api, path, json.dumps({"instances": rows})) == (
        200,
        {"predictions": [{"p": [28.0, 29.0], "q": 28}, {"p": [42.0, 43.0], "q": 42}]},
    )
    assert curl(api, path, json.dumps({"inputs": columns})) == (
        200,
        {"outputs": {"p": [[28.0, 29.0], [42.0, 43.0]], "q": [28, 42]}},
    )
    inputs = stored(client, "inputs")
    assert [row["data"]["tag"] for row in inputs] == ["fo\0", "bar!"] * 2
    assert inputs[1]["data"]["sensor"] == [[4, 5], [6, 8]]


def test_strings_out(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    """The stub writes sums as text."""
    serve(outputs=[tensor("text", "BYTES", 2), tensor("raw_bytes", "BYTES")])
    path, body = "/v1/models/sums:predict", '{"instances": [[1, 2, 3]]}'
    row = {"text": ["6", "7"], "raw_bytes": {"b64": "Ng=="}}
    assert curl(api, path, body) == (200, {"predictions": [row]})
    columns = {"text": [["6", "7"]], "raw_bytes": [{"b64": "Ng=="}]}
    assert curl(api, path, body.replace("instances", "inputs")) == (200, {"outputs": columns})
    assert stored(client, "results")[0]["output"] == {"text": ["6", "7"], "raw_bytes": "6"}


def test_classify_and_regress(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve(classes=["low", "high"], inputs=[tensor("x", "FP32"), tensor("shift", "FP32", 2)])
    serve(name="binary", classes=["no", "yes"], outputs=[tensor("y", "FP32", 1)])
    sent = {"context": {"shift": [0.25, 0]}, "examples": [{"x": 1}, {"x": [2.0], "shift": [0, 0.5]}]}
    assert curl(api, "/v1/models/sums:classify", json.dumps(sent)) == (
        200,
        {"results": [[["low", 1.25], ["high", 2.25]], [["low", 2.5], ["high", 3.5]]]},
    )
    binary = '{"examples": [{"x": [0.25, 0, 0]}]}'
    assert curl(api, "/v1/models/binary:classify", binary) == (200, {"results": [[["no", 0.75], ["yes", 0.25]]]})
    assert curl(api, "/v1/models/binary/versions/1:regress", binary) == (200, {"results": [0.25]})
    results = stored(client, "results")
    assert [result["label"] for result in results] == ["high", "high", "no", "no"]
    assert {result["protocol"] for result in results} == {"tensorflow_serving"}
    serve(name="plain")
    for method in ("classify", "regress"):
        code, body = curl(api, f"/v1/models/plain:{method}", '{"examples": [{"x": [1, 2, 3]}]}')
        assert code == 400
        assert (
            f"tensorflow/serving/{method}. Was: tensorflow/serving/predict. The model cannot {method}" in body["error"]
        )
    assert len(stored(client, "results")) == len(results)


def test_bodies_of_any_type_but_from_pages(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    path, body = "/v1/models/sums:predict", json.dumps({"instances": [ROW]})
    page = {"Origin": "https://elsewhere.example"}
    for kind in ("text/plain", "application/octet-stream", "application/json", "multipart/form-data; boundary=x"):
        assert curl(api, path, body, **{"Content-Type": kind})[0] == 200
    assert api.http.post(path, data=body, headers=api.headers).status_code == 200
    packed = api.post(path, data=gzip.compress(body.encode()), headers={"Content-Encoding": "gzip"})
    assert packed.json == {"predictions": [[6.0, 7.0]]}
    count = len(stored(client, "results"))
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = api.http.post(path, data=body, headers={**api.headers, **page, "Content-Type": kind})
        assert answer.status_code == 400
        assert "expected Content-Type application/json of a page" in problem(answer)
    assert len(stored(client, "results")) == count
    assert curl(api, path, body, **page, **{"Content-Type": "application/json"})[0] == 200


@pytest.mark.parametrize("which", ["", "/versions/1", "/labels/stable"])
def test_plain_bodies_are_answered_before_flask_as_the_route_answers_them(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    serve(aliases={"stable": 1}, fail_on=13.0)
    seen: list[str] = []
    app = api.http.application
    real = app.request_context
    monkeypatch.setattr(app, "request_context", lambda environ: seen.append(environ["PATH_INFO"]) or real(environ))
    path, form = f"/v1/models/sums{which}:predict", {"Content-Type": "application/x-www-form-urlencoded"}
    assert api.post(path, data='{"instances": [[1, 2, 3]]}').status_code == 200  # now the model is live
    page = {"Origin": "https://elsewhere.example"}
    for body, headers, plain in (
        (b'{"instances": [[1, 2, 3], [0.5, 1, 2]]}', form, True),
        (b'{"inputs": [[1, 2, 3], [0.5, 1, 2]], "signature_name": "serving_default"}', {}, True),
        (b'{"inputs": [[1, 2, 3]]}', {"Content-Type": "application/json", **page}, True),
        (b'{"instances": [[13, 0, 0]]}', form, True),
        (b'{"instances": [[1, 2, NaN]]}', form, False),
        (b'{"instances": [[16777216, 0, 0]]}', form, False),
        (b'{"instances": [[1, 2]]}', form, False),
        (b'{"instances": [[1, 2, 3]], "signature_name": "x"}', form, False),
        (b'{"instances": [[1, 2, 3]]}', form | page, False),
        (json.dumps({"instances": [ROW] * 10_001}).encode(), form, False),
    ):
        seen.clear()
        before = len(stored(client, "results"))
        # A preference of which nobody has heard makes a request more than plain.
        both = [
            api.post(path, data=body, headers={**headers, **more, "X-Request-ID": "r"})
            for more in ({}, {"Prefer": "x"})
        ]
        assert len(seen) == (1 if plain else 2), body
        assert both[0].status == both[1].status
        assert both[0].data == both[1].data
        assert dict(both[0].headers) == dict(both[1].headers)
        kept = stored(client, "results")[before:]
        assert {result["protocol"] for result in kept} <= {"tensorflow_serving"}
        half = len(kept) // 2
        for one, other in zip(kept[:half], kept[half:], strict=True):
            same = ("model", "version", "owner", "request", "status", "output")
            assert repr([one.get(name) for name in same]) == repr([other.get(name) for name in same])


def test_nothing_is_kept_of_what_does_not_fit(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    for body, text in (
        ("", "JSON Parse error: The document is empty"),
        ('{"instances": [[1, 2, 3], [1, 2]]}', "Failed to process element: 1 of 'instances' list."),
        ('{"instances": [[1, 2, "3"]]}', 'JSON Value: "3" Type: String is not of expected type: float'),
        ('{"instances": [[1, 2, 3]], "signature_name": "x"}', 'Serving signature name: "x" not found in signature def'),
        (json.dumps({"instances": [ROW] * 10_001}), "too many rows: expected at most 10000, got 10001"),
    ):
        code, found = curl(api, "/v1/models/sums:predict", body)
        assert code == 400
        assert text in found["error"]
    assert nothing_stored(client)


def test_other_methods_and_paths(api: Api, serve: Callable[..., Any]) -> None:
    serve()
    answer = api.get("/v1/models/sums:predict")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert problem(answer) == "GET is not allowed here"
    for path in ("sums:explain", "sums/versions/x:predict", "sums/versions/1/labels/stable:predict"):
        answer = api.post(f"/v1/models/{path}", json={"instances": [ROW]})
        assert answer.status_code in (404, 405)
        assert problem(answer)
    assert api.head("/v1/models/sums").status_code == 200
