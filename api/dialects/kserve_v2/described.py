"""How the v2 routes are described for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.openapi.describe import BINARY, JSON, Answer, Body, Media, Operation, Schema, named, record

TAG = "kserve_v2"
OCTETS = "application/octet-stream"

LENGTH = "Inference-Header-Content-Length"

_STRING: Schema = {"type": "string"}
ERROR = named("KServeError", record({"error": {**_STRING, "description": "What is wrong, and where."}}, ["error"]))
_WHOLE: Schema = {"type": "integer", "minimum": 0}
REQUEST_HEADERS: Mapping[str, Schema] = {
    LENGTH: {
        "name": LENGTH,
        "description": "Of how many bytes the JSON in front of the tensors' bytes is; 0: there is none, and the body "
        "is the one input of one row.",
        "schema": _WHOLE,
    }
}
ANSWER_HEADERS: Mapping[str, Schema] = {
    LENGTH: {
        "description": "Of how many bytes the JSON is; the outputs' bytes follow it. Without it, all is JSON.",
        "schema": _WHOLE,
    },
    "Content-Encoding": {"description": "`gzip` or `deflate`, where nothing else is accepted.", "schema": _STRING},
}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_LENGTH: Schema = {"type": "integer", "minimum": -1}
_SHAPE: Schema = {"type": "array", "items": _LENGTH, "description": "-1 is a free dimension; the first are the rows."}
_PARAMETERS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
_VALUES: Schema = {
    "type": "array",
    "items": {},
    "description": "The values in row-major order, in one list or nested as the shape says.",
}


def _open(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    """The schema of an object that may have more fields, which mean nothing here."""
    return {"type": "object", "properties": dict(properties), "required": required}


_INPUT = _open(
    {
        "name": _STRING,
        "shape": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1}},
        "datatype": _STRING,
        "parameters": _PARAMETERS,
        "data": _VALUES,
    },
    ["name", "shape", "datatype"],
)
_REQUESTED = _open({"name": _STRING, "parameters": _PARAMETERS}, ["name"])
REQUEST = named(
    "KServeRequest",
    _open(
        {
            "id": {"type": ["string", "null"], "description": "Yours; the answer and the results' `request` have it."},
            "parameters": {
                "anyOf": [_PARAMETERS, {"type": "null"}],
                "description": "`timeout` in microseconds, `binary_data_output`; your own are kept as results' `meta`.",
            },
            "inputs": {"type": "array", "minItems": 1, "items": _INPUT},
            "outputs": {
                "anyOf": [{"type": "array", "items": _REQUESTED}, {"type": "null"}],
                "description": "Which outputs are answered, all where nothing is said; `binary_data` and "
                "`classification` are parameters of each.",
            },
        },
        ["inputs"],
    ),
)
_OUTPUT = record(
    {
        "name": _STRING,
        "datatype": _STRING,
        "shape": {"type": "array", "items": _COUNT},
        "parameters": _PARAMETERS,
        "data": {"type": "array", "items": {}, "description": "The values in one list; a NaN is null."},
    },
    ["name", "datatype", "shape"],
)
RESPONSE = named(
    "KServeResponse",
    record(
        {
            "id": {"type": "string", "description": "The request's id, which is the results' `request`."},
            "model_name": _STRING,
            "model_version": _STRING,
            "outputs": {"type": "array", "items": _OUTPUT},
        },
        ["id", "model_name", "model_version", "outputs"],
    ),
)
_METADATA_TENSOR = record({"name": _STRING, "datatype": _STRING, "shape": _SHAPE}, ["name", "datatype", "shape"])
METADATA = named(
    "KServeModel",
    record(
        {
            "name": _STRING,
            "versions": {"type": "array", "items": _STRING},
            "platform": _STRING,
            "inputs": {"type": "array", "items": _METADATA_TENSOR},
            "outputs": {"type": "array", "items": _METADATA_TENSOR},
        },
        ["name", "versions", "platform", "inputs", "outputs"],
    ),
)
_CONFIG_TENSOR = record(
    {"name": _STRING, "data_type": _STRING, "dims": {"type": "array", "items": _LENGTH}}, ["name", "data_type", "dims"]
)
CONFIG = named(
    "KServeConfig",
    record(
        {
            "name": _STRING,
            "platform": _STRING,
            "backend": _STRING,
            "version_policy": {"type": "object"},
            "max_batch_size": {"type": "integer", "description": "Rows that a request may have."},
            "input": {"type": "array", "items": _CONFIG_TENSOR},
            "output": {"type": "array", "items": _CONFIG_TENSOR},
            "dynamic_batching": {"type": "object"},
        },
        ["name", "platform", "max_batch_size", "input", "output"],
    ),
)
_COUNTED = record({"count": _COUNT, "ns": _COUNT}, ["count", "ns"])
STATISTICS = named(
    "KServeStatistics",
    record(
        {
            "model_stats": {
                "type": "array",
                "items": record(
                    {
                        "name": _STRING,
                        "version": _STRING,
                        "last_inference": {**_COUNT, "description": "Milliseconds since 1970; 0: never."},
                        "inference_count": {**_COUNT, "description": "Rows with a stored result that succeeded."},
                        "execution_count": {**_COUNT, "description": "Calls of the model that computed stored rows."},
                        "inference_stats": {"type": "object", "additionalProperties": _COUNTED},
                        "response_stats": {"type": "object"},
                        "batch_stats": {
                            "type": "array",
                            "items": record(
                                {
                                    "batch_size": _COUNT,
                                    "compute_input": _COUNTED,
                                    "compute_infer": _COUNTED,
                                    "compute_output": _COUNTED,
                                }
                            ),
                        },
                        "memory_usage": {"type": "array", "items": {}},
                    },
                    ["name", "version", "inference_count", "execution_count"],
                ),
            }
        },
        ["model_stats"],
    ),
)
INDEX = named(
    "KServeIndex",
    {
        "type": "array",
        "items": record(
            {
                "name": _STRING,
                "version": _STRING,
                "state": {"type": "string", "enum": ["READY", "LOADING", "UNAVAILABLE"]},
                "reason": _STRING,
            },
            ["name", "version", "state", "reason"],
        ),
    },
)
INDEX_REQUEST = _open({"ready": {"type": "boolean", "description": "Of those that are ready alone."}}, [])
SERVER = record(
    {"name": _STRING, "version": _STRING, "extensions": {"type": "array", "items": _STRING}},
    ["name", "version", "extensions"],
)
LIVE = record({"live": {"type": "boolean", "const": True}}, ["live"])
HEALTH = record({"live": {"type": "boolean"}, "ready": {"type": "boolean"}}, ["live", "ready"])
READY = record({"name": _STRING, "ready": {"type": "boolean"}}, ["name", "ready"])

_NOT_AVAILABLE = "The model is not available (yet), the database is away, or too much is under way."
_EXAMPLE = {
    "id": "mine-1",
    "inputs": [{"name": "measures", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}],
}
_ANSWER = {
    "id": "mine-1",
    "model_name": "iris",
    "model_version": "1",
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [0.9, 0.07, 0.03]}],
}
_FED, _GIVEN = {"name": "measures"}, {"name": "y"}
A_MODEL = {
    "name": "iris",
    "versions": ["1"],
    "platform": "onnxruntime_onnx",
    "inputs": [{**_FED, "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{**_GIVEN, "datatype": "FP32", "shape": [-1, 3]}],
}
A_CONFIG = {
    "name": "iris",
    "platform": "onnxruntime_onnx",
    "backend": "onnx",
    "version_policy": {"specific": {"versions": [1]}},
    "max_batch_size": 10_000,
    "input": [{**_FED, "data_type": "TYPE_FP32", "dims": [4]}],
    "output": [{**_GIVEN, "data_type": "TYPE_FP32", "dims": [3]}],
    "dynamic_batching": {"preferred_batch_size": [64], "max_queue_delay_microseconds": 0},
}
_SOME = {"name": "iris", "version": "1", "last_inference": 1767268800000, "inference_count": 360, "execution_count": 12}
SOME_STATISTICS = {"model_stats": [_SOME]}
AN_INDEX = [{"name": "iris", "version": "1", "state": "READY", "reason": ""}]
A_SERVER = {"name": "almanac", "version": "0.1.0", "extensions": ["binary_tensor_data", "classification"]}
_PATH = {"version": "A version's number, or an alias."}


def infer_operation(id_: str, summary: str) -> Operation:
    """One of the two inference routes."""
    octets = Media(BINARY)
    return Operation(
        id=id_,
        tag=TAG,
        summary=summary,
        description="With the header `Inference-Header-Content-Length` the body is that much JSON, and the tensors' "
        "bytes behind it; the type of the body is not looked at. `Content-Encoding` may be `gzip` or `deflate`.",
        body=Body({JSON: Media(REQUEST, {"a row": _EXAMPLE}), OCTETS: octets}),
        headers=(LENGTH,),
        answers={
            200: Answer(
                "The outputs; each row is stored as an input and a result.",
                {JSON: Media(RESPONSE, {"a row": _ANSWER}), OCTETS: octets},
                tuple(ANSWER_HEADERS),
            )
        },
        errors={504: "", 503: _NOT_AVAILABLE},
        path=_PATH,
    )


def read_operation(
    id_: str,
    summary: str,
    schema: Schema,
    answer: str,
    example: Any = None,
    *,
    description: str = "",
    answers: Mapping[int, Answer] | None = None,
    **more: Any,
) -> Operation:
    """A route that tells something."""
    media = Media(schema, {"some": example} if example is not None else {})
    return Operation(
        id=id_,
        tag=TAG,
        summary=summary,
        description=description,
        answers={200: Answer(answer, {JSON: media}), **(answers or {})},
        path=_PATH,
        **more,
    )
