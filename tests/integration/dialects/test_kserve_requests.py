"""KServe's v2 requests in every form that the protocol has, and wrong in every way: each told, nothing of it stored."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from werkzeug.test import TestResponse

from tests.conftest import Api
from tests.integration.rest import ROW, Client, nothing_stored, stored, tensor

URL = "/v2/models/sums/infer"
LENGTH = "Inference-Header-Content-Length"
OCTETS = "application/octet-stream"
X = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": ROW}
BYTES = np.array(ROW, "f4").tobytes()
BINARY = {"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}


def infer(api: Api, body: Any, headers: dict[str, str] | None = None, url: str = URL) -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    plain = not headers or headers.keys() <= {"X-Request-ID", "Accept-Encoding"}
    kind = "application/json" if plain else OCTETS
    answer: TestResponse = api.post(url, data=data, content_type=kind, headers=headers or {})
    return answer


def binary(api: Api, body: Any, tail: bytes, length: int | str | None = None, **more: str) -> TestResponse:
    head = json.dumps(body).encode()
    headers = {LENGTH: str(len(head) if length is None else length), **more}
    answer: TestResponse = api.post(URL, data=head + tail, content_type=OCTETS, headers=headers)
    return answer


def test_an_answer_in_full(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve(aliases={"stable": 1})
    answer = infer(api, {"id": "mine-1", "inputs": [X], "parameters": {"mine": 7, "other": "a", "a.b": 1}})
    assert answer.json == {
        "id": "mine-1",
        "model_name": "sums",
        "model_version": "1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [6.0, 7.0]}],
    }
    assert answer.headers["X-Request-ID"] == "mine-1"
    assert LENGTH not in answer.headers
    (result,) = stored(client, "results")
    assert (result["request"], result["protocol"], result["meta"]) == ("mine-1", "kserve_v2", {"mine": 7, "other": "a"})
    (row,) = stored(client, "inputs")
    assert (row["data"], row["source"], row["meta"]) == (ROW, "predict", {"mine": 7, "other": "a"})
    by_alias = infer(api, {"inputs": [X]}, url="/v2/models/sums/versions/stable/infer")
    assert by_alias.json["model_version"] == "1"
    assert by_alias.json["id"] == by_alias.headers["X-Request-ID"] == stored(client, "results")[1]["request"]
    odd = infer(api, {"id": "no sane id", "inputs": [X]}, {"X-Request-ID": "by-header"})
    assert (odd.json["id"], odd.headers["X-Request-ID"]) == ("no sane id", "by-header")
    assert stored(client, "results")[2]["request"] == "by-header"


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8]),
        ([2, 2, 2], [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]),
        ([1, 2, 1], [1.5, 2]),
        ([1, 2, 1], [[[1.5], [2]]]),
    ],
)
@pytest.mark.parametrize("dtype", ["FP32", "FP16", "FP64", "INT64", "UINT8"])
def test_data_is_flat_or_nested(
    api: Api, client: Client, serve: Callable[..., Any], shape: list[int], data: Any, dtype: str
) -> None:
    serve(inputs=[tensor("x", dtype, 2, -1)])
    if dtype in ("INT64", "UINT8"):
        data = json.loads(json.dumps(data).replace("1.5", "1.0"))  # a float that is whole
    answer = infer(api, {"inputs": [{"name": "x", "shape": shape, "datatype": dtype, "data": data}]})
    sums = np.reshape(data, (shape[0], -1)).sum(1)
    assert np.reshape(answer.json["outputs"][0]["data"], (-1, 2))[:, 0].tolist() == sums.tolist()
    assert [np.shape(row["data"]) for row in stored(client, "inputs")] == [tuple(shape[1:])] * shape[0]


def test_strings_and_booleans_as_json(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve(inputs=[tensor("s", "BYTES", 2), tensor("b", "BOOL")], outputs=[tensor("t", "BYTES")])
    body = [
        {"name": "b", "shape": [2], "datatype": "BOOL", "data": [True, False]},
        {"name": "s", "shape": [2, 2], "datatype": "BYTES", "data": [["a", "[["], ["größer", ""]]},
    ]
    answer = infer(api, {"inputs": body})
    assert answer.json["outputs"] == [{"name": "t", "datatype": "BYTES", "shape": [2], "data": ["4", "8"]}]
    assert [row["data"] for row in stored(client, "inputs")] == [
        {"s": ["a", "[["], "b": True},
        {"s": ["größer", ""], "b": False},
    ]


def test_a_raw_request_is_one_row_and_its_answer_bytes(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve(inputs=[tensor("x", "FP32", -1, 2)])
    answer = api.post(URL, data=np.arange(6, dtype="f4").tobytes(), headers={LENGTH: "0"}, content_type=OCTETS)
    length = int(answer.headers[LENGTH])
    assert answer.mimetype == "application/octet-stream"
    assert json.loads(answer.data[:length])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(answer.data[length:], "f4").tolist() == [15, 16]
    assert stored(client, "inputs")[0]["data"] == [[0, 1], [2, 3], [4, 5]]
    for wrong, message in (
        (b"", "got 0 bytes"),
        (b"123", "got 3 bytes"),
        (bytes(12), "expected 8 bytes for FP32[1, 1, 2]"),
    ):
        refused = api.post(URL, data=wrong, headers={LENGTH: "0"}, content_type=OCTETS)
        assert refused.status_code == 400
        assert message in refused.json["error"]
    for name, inputs, message in (
        ("two", [tensor("a", "FP32", 1), tensor("b", "FP32", 1)], "this takes a, b"),
        ("free", [tensor("x", "FP32", -1, -1)], "its size does not tell its shape"),
        ("many", [tensor("x", "BYTES", 2)], "one element cannot be it"),
    ):
        serve(name=name, inputs=inputs)
        refused = api.post(f"/v2/models/{name}/infer", data=bytes(8), headers={LENGTH: "0"}, content_type=OCTETS)
        assert message in refused.json["error"]
    serve(name="text", inputs=[tensor("x", "BYTES", 1)])
    answer = api.post("/v2/models/text/infer", data=b"whole \xff body", headers={LENGTH: "0"}, content_type=OCTETS)
    assert np.frombuffer(answer.data[int(answer.headers[LENGTH]) :], "f4").tolist() == [12, 13]


def test_bytes_of_several_inputs_stand_in_their_order(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve(inputs=[tensor("x", "FP32", 3), tensor("n", "INT32"), tensor("s", "BYTES", 1), tensor("b", "BOOL", 2)])
    string = struct.pack("<I", 2) + b"ab"
    sent = [
        ({"name": "b", "shape": [1, 2], "datatype": "BOOL"}, b"\1\0"),
        ({"name": "s", "shape": [1, 1], "datatype": "BYTES"}, string),
        ({"name": "n", "shape": [1], "datatype": "INT32"}, np.int32(-7).tobytes()),
    ]
    inputs = [{**given, "parameters": {"binary_data_size": len(data)}} for given, data in sent]
    inputs.insert(1, X)
    body = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    answer = binary(api, body, b"".join(data for _, data in sent))
    assert answer.status_code == 200, answer.text
    assert np.frombuffer(answer.data[int(answer.headers[LENGTH]) :], "f4").tolist() == [6 - 7 + 2 + 1, 6 - 7 + 2 + 2]
    assert stored(client, "inputs")[0]["data"] == {"x": ROW, "n": -7, "s": ["ab"], "b": [True, False]}


def with_x(**more: Any) -> dict[str, Any]:
    return {"inputs": [{**X, **more}]}


WRONG: list[tuple[Any, str]] = [
    (b"{", "the body is not JSON"),
    (b"", "the body is not JSON"),
    (b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, NaN]}]}', "the body is not JSON"),
    ([], "expected a JSON object, got a list of 0"),
    ({}, "inputs: expected a list of tensors, got null"),
    ({"inputs": []}, "inputs: expected a list of tensors, got a list of 0"),
    ({"inputs": [5]}, "inputs: expected a list of tensors, got a list of 1"),
    ({"inputs": X}, "inputs: expected a list of tensors, got an object"),
    ({"inputs": [X, X]}, "inputs[1].name: x is there twice"),
    (with_x(name="z"), "inputs[0].name: no such input: expected x, got the string 'z'"),
    (with_x(name=None), "inputs[0].name: no such input: expected x, got null"),
    (with_x(datatype="FP64"), "inputs[0]: x: expected datatype FP32, got the string 'FP64'"),
    (with_x(datatype="BF16"), "expected datatype FP32, got the string 'BF16'"),
    (with_x(datatype=7), "expected datatype FP32, got the number 7"),
    (with_x(shape=[3]), "x: expected shape [rows, 3], got [3]"),
    (with_x(shape=[1, 4], data=[1, 2, 3, 4]), "x: expected shape [rows, 3], got [1, 4]"),
    (with_x(shape=[]), "x: expected shape [rows, 3], got []"),
    (with_x(shape=[0, 3], data=[]), "expected shape to be a list of positive whole numbers, got [0, 3]"),
    (with_x(shape=[-1, 3]), "expected shape to be a list of positive whole numbers, got [-1, 3]"),
    (with_x(shape=[1.0, 3]), "expected shape to be a list of positive whole numbers"),
    (with_x(shape=[True, 3]), "expected shape to be a list of positive whole numbers"),
    (with_x(shape="3"), "expected shape to be a list of positive whole numbers, got the string '3'"),
    (with_x(shape=[2**40, 3]), "expected shape to be a list of positive whole numbers"),
    (with_x(shape=[2**30, 3]), "x: expected a list of 3221225472, got a list of 3"),
    (with_x(data=[1, 2]), "x: expected a list of 3, got a list of 2"),
    (with_x(data=[1, 2, 3, 4]), "x: expected a list of 3, got a list of 4"),
    (with_x(data=[[1, 2], [3]]), "x: expected a list of 1, got a list of 2"),
    (with_x(data=[[1, 2, 3], []]), "x: expected a list of 1, got a list of 2"),
    (with_x(data=[[1, [2], 3]]), "x: at [0][1] expected a single value, got a list of 1"),
    (with_x(data=[1, [2, 3], []]), "expected a single value, got a list of 2"),
    (with_x(shape=[2, 3], data=[[1, 2, 3, 4], [5, 6]]), "at [0] expected a list of 3, got a list of 4"),
    (with_x(data=[1, None, 3]), "x: expected a number, got null"),
    (with_x(data=[1, "2", 3]), "x: expected a number, got the string '2'"),
    (with_x(data=[1, True, 3]), "x: expected a number, got true"),
    (with_x(data=[1, 1e39, 3]), "x: 1e+39 is too large for FP32"),
    (with_x(data="abc"), "x: expected a list, got the string 'abc'"),
    (with_x(data=None), "x: expected a list, got null"),
    (with_x(parameters={"shared_memory_region": "a"}), "this server shares no memory with its clients"),
    (with_x(parameters=[1]), "parameters: expected an object, got a list of 1"),
    ({"inputs": [X], "id": 7}, "id: expected a string, got the number 7"),
    ({"inputs": [X], "parameters": []}, "parameters: expected an object, got a list of 0"),
    ({"inputs": [X], "parameters": {"a": [1]}}, "parameters.a: expected a string, number or boolean, got a list of 1"),
    ({"inputs": [X], "parameters": {"a": "x" * 5000}}, "expected at most 4096 bytes of parameters of your own"),
    ({"inputs": [X], "parameters": {"timeout": -1}}, "parameters.timeout: expected a whole number of microseconds"),
    ({"inputs": [X], "parameters": {"timeout": "1"}}, "parameters.timeout: expected a whole number of microseconds"),
    ({"inputs": [X], "parameters": {"sequence_id": 4}}, "models here keep nothing from one request to the next"),
    ({"inputs": [X], "parameters": {"binary_data_output": 1}}, "binary_data_output: expected true or false"),
    ({"inputs": [X], "outputs": {}}, "outputs: expected a list of objects, got an object"),
    ({"inputs": [X], "outputs": ["y"]}, "outputs: expected a list of objects, got a list of 1"),
    ({"inputs": [X], "outputs": [{"name": "z"}]}, "outputs[0].name: expected one of y, got the string 'z'"),
    ({"inputs": [X], "outputs": [{"name": "y"}, {"name": "y"}]}, "outputs[1].name: y is asked for twice"),
    (
        {"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": -1}}]},
        "outputs[0].parameters.classification: expected a whole number, got the number -1",
    ),
    (
        {"inputs": [X], "outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]},
        "outputs[0].parameters.binary_data: expected true or false, got the string 'yes'",
    ),
]


def test_what_does_not_fit_is_a_400_that_names_the_place(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    for body, message in WRONG:
        answer = infer(api, body)
        assert answer.status_code == 400, (body, answer.text)
        assert message in answer.json["error"], body
    assert nothing_stored(client)
    # Once the model is live it is looked at before Flask, and answered alike.
    assert infer(api, {"inputs": [X]}).status_code == 200
    for body, message in WRONG:
        assert message in infer(api, body).json["error"], body
    assert len(stored(client, "results")) == 1


def test_bytes_that_do_not_fit(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    inputs = {"inputs": [BINARY]}
    head = len(json.dumps(inputs))
    for answer, message in (
        (binary(api, inputs, BYTES, 1000), f"{LENGTH}: expected 0 to {head + 12}, the length of the body, got '1000'"),
        (binary(api, inputs, BYTES, -1), "got '-1'"),
        (binary(api, inputs, BYTES, "x" * 50), "the length of the body"),
        (binary(api, inputs, BYTES, head - 1), "the body is not JSON"),
        (binary(api, inputs, BYTES + b"1"), "body: 1 bytes are left after the last tensor"),
        (binary(api, inputs, BYTES[:-1]), "expected binary_data_size to be 0 to 11, got the number 12"),
        (infer(api, inputs), "expected binary_data_size to be 0 to 0, got the number 12"),
        (binary(api, {"inputs": [X]}, BYTES), "body: 12 bytes are left after the last tensor"),
        (binary(api, {"inputs": [X | BINARY]}, BYTES), "expected data or binary_data_size, got both"),
        (binary(api, {"inputs": [BINARY | {"shape": [2, 3]}]}, BYTES), "expected 24 bytes for FP32[2, 3], got 12"),
        (binary(api, inputs, np.array([1, np.nan, 2], "f4").tobytes()), "expected a finite number, got NaN"),
        (binary(api, inputs, np.array([1, np.inf, 2], "f4").tobytes()), "expected a finite number, got Infinity"),
    ):
        assert answer.status_code == 400, answer.text
        assert message in answer.json["error"]
    serve(name="b", inputs=[tensor("x", "BOOL", 1)])
    head_b = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "BOOL", "parameters": {"binary_data_size": 1}}]}
    raw = json.dumps(head_b).encode()
    answer = api.post("/v2/models/b/infer", data=raw + b"\2", headers={LENGTH: str(len(raw))}, content_type=OCTETS)
    assert "every byte of a BOOL tensor to be 0 or 1" in answer.json["error"]
    assert nothing_stored(client)
    large = np.array([3e38, 3e38, -3e38], "f4").tobytes()  # finite, whatever their sum is
    assert binary(api, inputs, large).status_code == 200


def test_bodies_that_are_compressed(client: Client, make_api: Callable[..., Api], serve: Callable[..., Any]) -> None:
    serve()
    api = make_api(client, max_body_mb=1)
    body = json.dumps({"inputs": [X]}).encode()
    raw = zlib.compressobj(wbits=-15)
    for encoding, data in (
        ("gzip", gzip.compress(body)),
        ("deflate", zlib.compress(body)),
        ("deflate", raw.compress(body) + raw.flush()),
        ("identity", body),
    ):
        assert infer(api, data, {"Content-Encoding": encoding}).json["outputs"][0]["data"] == [6, 7]
    rows = len(stored(client, "results"))
    bomb = gzip.compress(b" " * (64 << 20))
    assert len(bomb) < 100_000
    for encoding, data, code, message in (
        ("gzip", bomb, 413, "larger than is allowed here: more than 1048576 bytes without its compression"),
        ("gzip", body, 400, "the body is not gzip"),
        ("gzip", gzip.compress(body)[:-9], 400, "it ends early"),
        ("gzip", gzip.compress(body) + b"x", 400, "it goes on after its end"),
        ("deflate", b"\0\0\0", 400, "the body is not deflate"),
        ("br", body, 400, "expected Content-Encoding gzip or deflate, got br"),
    ):
        answer = infer(api, data, {"Content-Encoding": encoding})
        assert answer.status_code == code
        assert message in answer.json["error"]
    assert len(stored(client, "results")) == rows
    answer = infer(api, body, {"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.data))["outputs"][0]["data"] == [6, 7]
    assert "Content-Encoding" not in infer(api, body, {"Accept-Encoding": "gzip, deflate"}).headers


def test_the_route_and_what_comes_before_it_answer_alike(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    assert infer(api, {"inputs": [X]}).status_code == 200
    seen: list[str] = []
    app = api.http.application
    real = app.request_context
    monkeypatch.setattr(app, "request_context", lambda environ: seen.append(environ["PATH_INFO"]) or real(environ))
    head = json.dumps({"inputs": [BINARY], "id": "same", "parameters": {"own": 1}}).encode()
    bodies: list[tuple[bytes, dict[str, str]]] = [
        (json.dumps({"inputs": [X], "id": "same", "parameters": {"own": 1}}).encode(), {}),
        (head + BYTES, {LENGTH: str(len(head))}),
    ]
    for data, headers in bodies:
        seen.clear()
        early = infer(api, data, headers)
        assert seen == []
        by_route = infer(api, data, {**headers, "Prefer": "chocolate"})
        assert seen == [URL]
        assert (early.status, early.data) == (by_route.status, by_route.data)
        assert dict(early.headers) == dict(by_route.headers)
    first, *others = [
        {
            name: value
            for name, value in result.items()
            if name not in ("_id", "_etag", "_created", "_updated", "timing", "input")
        }
        for result in stored(client, "results")[1:]
    ]
    assert (first["request"], first["meta"]) == ("same", {"own": 1})
    assert others == [first] * 3
    seen.clear()
    classes = [{"name": "y", "parameters": {"classification": 1}}]
    answer = infer(api, {"inputs": [X], "outputs": classes})
    assert answer.json["outputs"][0] == {"name": "y", "datatype": "BYTES", "shape": [1, 1], "data": ["7.000000:1"]}
    assert seen == [URL]
