"""Predict: what it answers, and what it stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId
from bson.binary import Binary

from ml.database.client import database_of
from tests.conftest import Api
from tests.integration.rest import ROW, URL, Client, nothing_stored, stored, tensor


def test_answers_come_in_the_order_asked_with_the_ids_of_their_records(
    api: Api, client: Client, serve: Callable[..., Any]
) -> None:
    serve()
    answer = api.post(
        URL,
        json={"instances": [[9, 0, 0], [1, 2, 3], [5, 5, 5.5]], "meta": [{"n": 0}, None, {}]},
        headers={"X-Request-ID": "r-1"},
    )
    assert answer.status_code == 200
    assert answer.json.keys() == {"model", "version", "predictions", "timing"}
    assert (answer.json["model"], answer.json["version"]) == ("sums", 1)
    assert answer.json["timing"].keys() >= {"queue_ms", "compute_ms", "batch", "total_ms"}
    predictions = answer.json["predictions"]
    assert [p["output"] for p in predictions] == [[9.0, 10.0], [6.0, 7.0], [15.5, 16.5]]
    assert all(p.keys() == {"_id", "input", "output"} for p in predictions)
    results = {str(r["_id"]): r for r in stored(client, "results")}
    inputs = {str(i["_id"]): i for i in stored(client, "inputs")}
    assert (len(results), len(inputs)) == (3, 3)
    rows, metas = ([9, 0, 0], [1, 2, 3], [5, 5, 5.5]), ({"n": 0}, None, None)
    for prediction, row, meta in zip(predictions, rows, metas, strict=True):
        result, input_ = results[prediction["_id"]], inputs[prediction["input"]]
        assert str(result["input"]) == prediction["input"]
        assert result["output"] == {"y": prediction["output"]}
        assert (result["status"], result["request"], result["protocol"]) == ("succeeded", "r-1", "almanac")
        assert (result["owner"], input_["owner"], input_["source"], input_["model"]) == ("admin",) * 2 + (
            "predict",
            "sums",
        )
        assert input_["data"] == row
        assert result.get("meta") == input_.get("meta") == meta
        assert "label" not in result


def test_which_version_answers(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    for version in (1, 2, 3):
        serve(version=version)
    serve(version=4, state="loading")
    assert api.post(URL, json={"instances": [ROW]}).json["version"] == 3
    database_of(client)["registry"].update_one({"_id": "sums"}, {"$set": {"aliases": {"stable": 1, "next": 2}}})
    api.http.application.extensions["service"].registry.refresh()
    assert api.post(URL, json={"instances": [ROW]}).json["version"] == 1
    assert api.post("models/sums/versions/2/predict", json={"instances": [ROW]}).json["version"] == 2
    assert api.post("models/sums/aliases/next/predict", json={"instances": [ROW]}).json["version"] == 2
    assert [result["version"] for result in stored(client, "results")] == [3, 1, 2, 2]


def test_the_executor_failed(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve(fail_on=13.0)
    answer = api.post(URL, json={"instances": [[13, 0, 0]]}, headers={"X-Request-ID": "r-9"})
    assert answer.status_code == 500
    assert "(request r-9)" in answer.json["_error"]["message"]
    (result,) = stored(client, "results")
    assert (result["status"], result["request"], result["error"]["code"]) == ("failed", "r-9", "execution_failed")
    assert "output" not in result
    (input_,) = stored(client, "inputs")
    assert result["input"] == input_["_id"]
    none = api.post(URL, json={"instances": [[13, 0, 0]], "store": "none"})
    assert none.status_code == 500
    assert len(stored(client, "results")) == 1


def test_what_is_stored(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    none = api.post(URL, json={"instances": [ROW], "store": "none", "meta": [{"a": 1}]})
    assert none.json["predictions"] == [{"output": [6.0, 7.0]}]
    assert nothing_stored(client)
    result = api.post(URL, json={"instances": [ROW], "store": "result"})
    assert result.json["predictions"][0].keys() == {"_id", "output"}
    assert (len(stored(client, "inputs")), len(stored(client, "results"))) == (0, 1)
    assert "input" not in stored(client, "results")[0]
    api.post(URL, json={"instances": [ROW], "store": "all"})
    assert (len(stored(client, "inputs")), len(stored(client, "results"))) == (1, 2)


def test_stored_inputs_are_scored_by_id(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    db = database_of(client)
    ids = [item["_id"] for item in api.post("inputs", json=[{"data": [n, 0, 0]} for n in (1, 2)]).json["_items"]]
    # What other programs insert: nested doubles, packed, owned by another or by none.
    packed = {"dtype": "FP32", "shape": [3], "data": Binary(b"\0\0\x80?" * 3)}
    ids += [
        str(db["inputs"].insert_one(document).inserted_id)
        for document in ({"data": [5.5, 0.0, 0.0]}, {"data": packed, "owner": "bob"}, {"data": {"x": [7, 0, 0]}})
    ]
    asked = [*reversed(ids), ids[0]]
    answer = api.post(URL, json={"inputs": asked, "meta": [{"n": n} for n in range(6)]})
    assert answer.status_code == 200
    assert [p["input"] for p in answer.json["predictions"]] == asked
    assert [p["output"][0] for p in answer.json["predictions"]] == [7.0, 3.0, 5.5, 2.0, 1.0, 1.0]
    assert len(stored(client, "inputs")) == 5
    results = {str(r["_id"]): r for r in stored(client, "results")}
    assert [results[p["_id"]].get("owner") for p in answer.json["predictions"]] == [
        None, "bob", None, "admin", "admin", "admin",
    ]  # fmt: skip
    none = api.post(URL, json={"inputs": ids[:1], "store": "none"}).json["predictions"]
    assert none == [{"input": ids[0], "output": [1.0, 2.0]}]
    assert len(stored(client, "results")) == 6


def test_stored_inputs_that_are_not_there_or_do_not_fit(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    db = database_of(client)
    good = api.post("inputs", json={"data": ROW}).json["_id"]
    missing = str(ObjectId())
    answer = api.post(URL, json={"inputs": [good, missing]})
    assert answer.status_code == 404
    assert answer.json["_issues"] == {"inputs[1]": f"there is no input {missing}"}
    for data, reason in [
        ([1, 2], "expected FP32[3]: expected a list of 3, got a list of 2"),
        (["a", "b", "c"], "expected a number, got the string 'a'"),
        ([1.0, float("nan"), 2.0], "expected a finite number, got NaN"),
        ({"a": [1], "b": [2]}, "got an object with ['a', 'b']"),
        ({"dtype": "FP32", "shape": 5, "data": b""}, "expected shape to be a list"),
        (None, "got null"),
    ]:
        id_ = str(db["inputs"].insert_one({"data": data}).inserted_id)
        answer = api.post(URL, json={"inputs": [good, id_]})
        assert answer.status_code == 422
        assert reason in answer.json["_issues"]["inputs[1]"]
    assert not stored(client, "results")


def test_several_inputs_and_outputs(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve(
        inputs=[tensor("a", "FP32", 2), tensor("b", "INT32")],
        outputs=[tensor("p", "FP32", 2), tensor("q", "INT64")],
        classes=["u", "v"],
    )
    answer = api.post(URL, json={"instances": [{"a": [1, 2], "b": 3}, {"b": 4.0, "a": [0.5, 0]}]})
    assert answer.status_code == 200
    assert [p["output"] for p in answer.json["predictions"]] == [{"p": [6.0, 7.0], "q": 6}, {"p": [4.5, 5.5], "q": 4}]
    assert not any("label" in p for p in answer.json["predictions"])
    assert [i["data"] for i in stored(client, "inputs")] == [{"a": [1.0, 2.0], "b": 3}, {"a": [0.5, 0.0], "b": 4}]
    assert stored(client, "results")[0]["output"] == {"p": [6.0, 7.0], "q": 6}
    ids = [str(i["_id"]) for i in stored(client, "inputs")]
    again = api.post(URL, json={"inputs": ids}).json["predictions"]
    assert [p["output"] for p in again] == [p["output"] for p in answer.json["predictions"]]
    sole = api.post(URL, json={"inputs": ids[:1], "outputs": ["q"]}).json["predictions"][0]
    assert sole["output"] == 6
    both = api.post(URL, json={"inputs": ids[:1], "outputs": ["q", "p", "q"]}).json["predictions"][0]
    assert list(both["output"]) == ["q", "p"]
    # Left out of an answer is not left out of the record.
    assert stored(client, "results")[-1]["output"].keys() == {"p", "q"}
    wrong = api.post(URL, json={"instances": [{"a": [1, 2]}, {"a": [1], "b": 1.5, "c": 0}, [1, 2]]})
    assert wrong.status_code == 422
    assert wrong.json["_issues"] == {
        "instances[0].b": "expected INT32[], got nothing",
        "instances[1].c": "no such input; the model takes a, b",
        "instances[2]": "expected an object with a, b, got a list of 2",
    }


@pytest.mark.parametrize(
    ("dtype", "good", "shown", "bad"),
    [
        ("INT8", [3, 3.0, -128], [3, 3, -128], [1.5, 128, "1", True, None]),
        ("UINT8", [255], [255], [-1, 256, 255.5]),
        ("INT64", [2**40], [2**40], [2**63, 1e30]),
        ("UINT64", [2**63], [2**63], [-1, 2**64]),
        ("FP64", [1e30, 3], [1e30, 3.0], ["1", False]),
        ("FP16", [0.5], [0.5], [70_000]),
        ("BOOL", [True, False], [True, False], [1, 0, "true", None]),
        ("BYTES", ["abc", ""], ["abc", ""], [1, None, True]),
    ],
)
def test_every_type_of_value(
    api: Api, client: Client, serve: Callable[..., Any], dtype: str, good: Any, shown: Any, bad: Any
) -> None:
    serve(inputs=[tensor("x", dtype)])
    answer = api.post(URL, data=json.dumps({"instances": good}), content_type="application/json")
    assert answer.status_code == 200
    items = api.get("inputs").json["_items"]
    assert [item["data"] for item in items] == shown
    ids = [item["_id"] for item in items]
    again = api.post(URL, json={"inputs": ids})
    assert [p["output"] for p in again.json["predictions"]] == [p["output"] for p in answer.json["predictions"]]
    for value in bad:
        body = json.dumps({"instances": [good[0], value]})
        answer = api.post(URL, data=body, content_type="application/json")
        assert answer.status_code == 422, value
        assert next(iter(answer.json["_issues"])) in ("instances[1]", "instances")
    assert len(stored(client, "inputs")) == len(good)


def test_strings_in_and_out(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve(inputs=[tensor("x", "BYTES", 2)])
    answer = api.post(URL, json={"instances": [["ab", "é"], ["", "x\0"]]})
    assert [p["output"][0] for p in answer.json["predictions"]] == [4.0, 2.0]
    assert [i["data"] for i in stored(client, "inputs")] == [["ab", "é"], ["", "x\0"]]


def test_a_free_dimension(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve(inputs=[tensor("x", "FP32", -1, 2)])
    answer = api.post(URL, json={"instances": [[[1, 2], [3, 4], [5, 6]]]})
    assert answer.json["predictions"][0]["output"] == [21.0, 22.0]
    wrong = api.post(URL, json={"instances": [[[1, 2]], [[1, 2], [3, 4]]]})
    assert wrong.json["_issues"] == {"instances[1]": "x expected FP32[?,2]: expected a list of 1, got a list of 2"}
    empty = api.post(URL, json={"instances": [[]]})
    assert empty.json["_issues"] == {
        "instances[0]": "x expected FP32[?,2]: expected a list of one or more, got an empty list"
    }
    ids = [
        item["_id"] for item in api.post("inputs", json=[{"data": [[1, 2]]}, {"data": [[1, 2], [3, 4]]}]).json["_items"]
    ]
    answer = api.post(URL, json={"inputs": ids})
    assert answer.status_code == 422
    assert answer.json["_issues"] == {"inputs[1].x": "expected shape [1, 2] as in the first row"}


@pytest.mark.parametrize(
    ("classes", "width", "row", "label", "score"),
    [
        (["a", "b", "c"], 3, [0, 0, 0], "c", 2.0),
        (["a", "b"], 1, [0.5, 0, 0], "b", 0.5),
        (["a", "b"], 1, [0.25, 0, 0], "a", 0.25),
        (["a", "b"], 3, ROW, None, None),
        (["a", "b", "c"], 1, ROW, None, None),
        (None, 3, ROW, None, None),
    ],
)
def test_labels_and_scores(
    api: Api, client: Client, serve: Callable[..., Any], classes: Any, width: int, row: Any, label: Any, score: Any
) -> None:
    serve(outputs=[tensor("y", "FP32", width)], classes=classes)
    prediction = api.post(URL, json={"instances": [row]}).json["predictions"][0]
    (result,) = stored(client, "results")
    assert (prediction.get("label"), prediction.get("score")) == (label, score)
    assert (result.get("label"), result.get("score")) == (label, score)


def test_large_rows_are_stored_packed_and_answered_whole(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve(inputs=[tensor("x", "FP32", 30, 50)], outputs=[tensor("y", "FP64", 1500)])
    answer = api.post(URL, json={"instances": [[[1] * 50] * 30]})
    assert answer.json["predictions"][0]["output"] == [1500.0 + n for n in range(1500)]
    (input_,), (result,) = stored(client, "inputs"), stored(client, "results")
    assert (input_["data"]["dtype"], input_["data"]["shape"]) == ("FP32", [30, 50])
    assert (result["output"]["y"]["dtype"], result["output"]["y"]["shape"]) == ("FP64", [1500])


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_other_methods(api: Api, serve: Callable[..., Any], method: str) -> None:
    serve()
    answer = getattr(api, method)(URL)
    assert (answer.status_code, answer.json["_error"]["code"]) == (405, 405)
    assert "POST" in answer.headers["Allow"]
