"""KServe's v2 protocol as `tritonclient`, from the package index and unmodified, speaks it over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.conftest import ADMIN_KEY, Api
from tests.integration.rest import Client, stored, tensor
from tests.waiting import until


class Key(triton.InferenceServerClientPlugin):  # type: ignore[misc]
    """Sends a key with every request, as the client's own documentation shows it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> None:
        request.headers["Authorization"] = f"Bearer {self._token}"


@pytest.fixture
def connect(address: str) -> Iterator[Callable[..., Any]]:
    made: list[Any] = []

    def make(token: str = ADMIN_KEY, **options: Any) -> Any:
        client = triton.InferenceServerClient(address, **options)
        client.register_plugin(Key(token))
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def given(name: str, values: Any, datatype: str, **options: Any) -> Any:
    array = np.asarray(values)
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, **options)
    return made


X = np.array([[1, 2, 3], [4, 5, 6]], "f4")
SUMS = [[6, 7], [15, 16]]


def test_health_metadata_configuration_and_index(
    connect: Callable[..., Any], api: Api, address: str, serve: Callable[..., Any]
) -> None:
    serve(aliases={"stable": 1}, inputs=[tensor("x", "FP32", -1, 3), tensor("names", "BYTES")])
    serve(version=2, aliases={"stable": 1}, inputs=[tensor("x", "FP32", 3)])
    serve(name="young", state="loading")
    client = connect()
    stranger = triton.InferenceServerClient(address)
    assert stranger.is_server_live()
    assert not stranger.is_server_ready()  # the collections were not read
    assert client.is_model_ready("sums")
    assert client.is_server_ready()
    assert stranger.is_server_ready()
    assert not stranger.is_model_ready("sums")
    assert client.is_model_ready("sums", "2")
    assert not client.is_model_ready("sums", "9")
    assert not client.is_model_ready("young")
    about = client.get_server_metadata()
    assert about["name"] == "almanac"
    assert {"binary_tensor_data", "classification", "statistics"} <= set(about["extensions"])
    assert client.get_model_metadata("sums") == {
        "name": "sums",
        "versions": ["1", "2"],
        "platform": "tensorflow_savedmodel",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, -1, 3]},
            {"name": "names", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }
    assert client.get_model_metadata("sums", "2")["inputs"][0]["shape"] == [-1, 3]
    config = client.get_model_config("sums", "stable")
    assert config["input"][0] == {"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 3]}
    assert config["input"][1] == {"name": "names", "data_type": "TYPE_STRING", "dims": []}
    assert config["max_batch_size"] == 10_000
    assert client.get_model_repository_index() == [
        {"name": "sums", "version": "1", "state": "READY", "reason": ""},
        {"name": "sums", "version": "2", "state": "READY", "reason": ""},
        {"name": "young", "version": "1", "state": "LOADING", "reason": ""},
    ]
    ready = api.post("/v2/repository/index", json={"ready": True})
    assert {entry["name"] for entry in ready.json} == {"sums"}
    for refused in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="'sums' is managed through /api/v1/models"):
            refused("sums")
    for asked in (client.get_trace_settings, client.get_log_settings, client.get_system_shared_memory_status):
        with pytest.raises(InferenceServerException, match="there is nothing at /v2/"):
            asked()
    stranger.close()


def test_infer_with_default_settings_several_inputs_and_outputs(
    connect: Callable[..., Any], client: Client, serve: Callable[..., Any]
) -> None:
    serve(
        inputs=[tensor("x", "FP32", 3), tensor("half", "FP16", 2), tensor("words", "BYTES"), tensor("on", "BOOL", 1)],
        outputs=[tensor("y", "FP32", 2), tensor("small", "FP16", 1), tensor("text", "BYTES", 2), tensor("n", "INT64")],
    )
    words = np.array([b"ab", "größer".encode()], object)
    inputs = [
        given("on", [[True], [False]], "BOOL"),  # in any order
        given("x", X, "FP32"),
        given("words", words, "BYTES"),
        given("half", np.array([[0.5, 0.25], [1, 2]], "f2"), "FP16"),
    ]
    sums = np.array([6 + 0.75 + 2 + 1, 15 + 3 + 8])
    eve = connect("user:eve")
    result = eve.infer("sums", inputs, request_id="mine-1")
    assert result.get_response()["id"] == "mine-1"
    assert (result.get_response()["model_name"], result.get_response()["model_version"]) == ("sums", "1")
    assert [output["parameters"]["binary_data_size"] > 0 for output in result.get_response()["outputs"]] == [True] * 4
    np.testing.assert_array_equal(result.as_numpy("y"), np.stack([sums, sums + 1], 1).astype("f4"))
    np.testing.assert_array_equal(result.as_numpy("small"), sums[:, None].astype("f2"))
    assert result.as_numpy("small").dtype == np.float16
    np.testing.assert_array_equal(result.as_numpy("n"), sums.astype("i8"))
    assert result.as_numpy("text").tolist() == [[b"9.75", b"10.75"], [b"26", b"27"]]
    documents = stored(client, "results")
    assert {document["request"] for document in documents} == {"mine-1"}
    assert {(document["protocol"], document["owner"]) for document in documents} == {("kserve_v2", "eve")}
    assert stored(client, "inputs")[1]["data"]["words"] == "größer"
    some = [triton.InferRequestedOutput("n", binary_data=False), triton.InferRequestedOutput("y")]
    mixed = eve.infer("sums", inputs, outputs=some)
    assert [output["name"] for output in mixed.get_response()["outputs"]] == ["n", "y"]
    assert mixed.get_response()["outputs"][0]["data"] == sums.astype(int).tolist()
    np.testing.assert_array_equal(mixed.as_numpy("y"), result.as_numpy("y"))
    as_json = [triton.InferRequestedOutput("text", binary_data=False)]
    assert eve.infer("sums", inputs, outputs=as_json).as_numpy("text").tolist() == [["9.75", "10.75"], ["26", "27"]]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_every_way_in_and_out(
    connect: Callable[..., Any], serve: Callable[..., Any], binary_in: bool, binary_out: bool, compression: str | None
) -> None:
    serve()
    result = connect().infer(
        "sums",
        [given("x", X, "FP32", binary_data=binary_in)],
        outputs=[triton.InferRequestedOutput("y", binary_data=binary_out)],
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
        model_version="1",
        timeout=5_000_000,
        parameters={"mine": "kept"},
    )
    assert result.as_numpy("y").tolist() == SUMS
    assert ("data" in result.get_output("y")) is not binary_out


def test_classification(connect: Callable[..., Any], serve: Callable[..., Any]) -> None:
    serve(outputs=[tensor("y", "FP32", 3)], classes=["low", "mid", "high"])
    outputs = [triton.InferRequestedOutput("y", class_count=2)]
    result = connect().infer("sums", [given("x", X, "FP32")], outputs=outputs)
    assert result.as_numpy("y").tolist() == [
        [b"8.000000:2:high", b"7.000000:1:mid"],
        [b"17.000000:2:high", b"16.000000:1:mid"],
    ]
    many = [triton.InferRequestedOutput("y", class_count=9, binary_data=False)]
    assert connect().infer("sums", [given("x", X, "FP32")], outputs=many).get_output("y")["shape"] == [2, 3]


def test_asynchronous_infer(connect: Callable[..., Any], client: Client, serve: Callable[..., Any]) -> None:
    serve()
    asked = connect(concurrency=4)
    waiting = [asked.async_infer("sums", [given("x", X + number, "FP32")]) for number in range(8)]
    found = [one.get_result(timeout=20).as_numpy("y")[0, 0] for one in waiting]
    assert found == [6 + 3 * number for number in range(8)]
    assert len(stored(client, "results")) == 16


def test_statistics(connect: Callable[..., Any], serve: Callable[..., Any], api: Api) -> None:
    serve(fail_on=13.0)
    serve(name="idle")
    eve, adam = connect("user:eve"), connect("user:adam")
    eve.infer("sums", [given("x", np.concatenate([X, X]), "FP32")])
    for _ in range(3):
        eve.infer("sums", [given("x", X[:1], "FP32")])
    adam.infer("sums", [given("x", X[:1], "FP32")])
    with pytest.raises(InferenceServerException, match="the model failed on 1 of 1 rows"):
        eve.infer("sums", [given("x", np.array([[13, 0, 0]], "f4"), "FP32")])
    (counted,) = eve.get_inference_statistics("sums")["model_stats"]
    assert (counted["name"], counted["version"]) == ("sums", "1")
    assert (counted["inference_count"], counted["execution_count"]) == (7, 5)
    assert counted["inference_stats"]["fail"]["count"] == 1
    assert counted["inference_stats"]["success"]["count"] == 7
    assert counted["inference_stats"]["compute_infer"]["ns"] > 0
    assert [batch["batch_size"] for batch in counted["batch_stats"]] == [1, 4]
    assert [batch["compute_infer"]["count"] for batch in counted["batch_stats"]] == [4, 1]
    newest = api.get("results?sort=-_created&max_results=1").json["_items"][0]["_created"]
    assert counted["last_inference"] == int(np.datetime64(newest[:-1], "ms").astype(int))
    assert adam.get_inference_statistics("sums", "1")["model_stats"][0]["inference_count"] == 1
    everything = connect().get_inference_statistics()["model_stats"]
    assert [(one["name"], one["inference_count"]) for one in everything] == [("idle", 0), ("sums", 8)]


def test_what_is_wrong_is_an_exception_that_says_it(
    connect: Callable[..., Any], client: Client, serve: Callable[..., Any]
) -> None:
    serve()
    asked = connect()
    for inputs, message in (
        ([given("x", X.astype("f8"), "FP64")], "expected datatype FP32, got the string 'FP64'"),
        ([given("x", X[:, :2], "FP32")], r"expected shape \[rows, 3\], got \[2, 2\]"),
        ([given("z", X, "FP32")], "no such input: expected x, got the string 'z'"),
    ):
        with pytest.raises(InferenceServerException, match=message) as raised:
            asked.infer("sums", inputs)
        assert raised.value.status() == "400"
    with pytest.raises(InferenceServerException, match="there is no model 'nope'") as raised:
        asked.infer("nope", [given("x", X, "FP32")])
    assert raised.value.status() == "404"
    with pytest.raises(InferenceServerException, match="keep nothing from one request to the next"):
        asked.infer("sums", [given("x", X, "FP32")], sequence_id=7, sequence_start=True)
    with pytest.raises(InferenceServerException, match="the key is not valid"):
        connect("nobody's").infer("sums", [given("x", X, "FP32")])
    assert stored(client, "results") == []


def test_large_tensors(connect: Callable[..., Any], client: Client, serve: Callable[..., Any]) -> None:
    serve(inputs=[tensor("x", "FP32", 100_000)])
    x = np.arange(200_000, dtype="f4").reshape(2, -1) % 7
    result = connect().infer("sums", [given("x", x, "FP32")])
    np.testing.assert_allclose(result.as_numpy("y")[:, 0], x.sum(1))
    row = until(lambda: stored(client, "inputs"))[1]
    assert row["data"]["data"] == x[1].tobytes()
