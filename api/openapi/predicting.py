"""How predict is described: its three routes, and the schemas that `?model=` makes exact."""

from __future__ import annotations

from typing import Any

from api.openapi.describe import BINARY, JSON, Answer, Body, Media, Operation, Query, Schema, named, record, ref
from api.openapi.json_schema import FREE_OBJECT, TENSOR_VALUES
from api.openapi.shared import OBJECT_ID, TENSOR
from api.predict_request import FORM, MAX_TIMEOUT_MS, MOST_ROWS, MOST_ROWS_LATER, NPY, STORES

STORE: Schema = {
    "type": "string",
    "enum": list(STORES),
    # No `default`: clients that are generated would send it with JSON, too, where it may not be in the query string.
    "description": "What is kept: row and result (so it is where nothing is said), the result alone, or nothing.",
}
TIMEOUT: Schema = {
    "type": "integer",
    "minimum": 1,
    "maximum": MAX_TIMEOUT_MS,
    "description": "Milliseconds after which the answer is no longer wanted (504).",
}

#: One row; `?model=` has that model's.
INSTANCE = named(
    "Instance",
    {
        "description": "A row: a nested list of the shape of the model's input, or an object by input name.",
        "anyOf": [TENSOR_VALUES, {"type": "object", "minProperties": 1, "additionalProperties": TENSOR_VALUES}],
    },
)
#: What one row gave; `?model=` has that model's.
OUTPUT = named(
    "PredictionOutput",
    {
        "description": "A sole output bare, several by name.",
        "anyOf": [TENSOR, {"type": "object", "additionalProperties": TENSOR}],
    },
)
OUTPUTS: Schema = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "string"},
    "description": "Which outputs are answered; all, where nothing is said.",
}


def _request(rows: Schema, outputs: Schema) -> Schema:
    """The body of a request, of which `rows` is the field that has them."""
    meta: Schema = {
        "type": ["array", "null"],
        "items": {"anyOf": [FREE_OBJECT, {"type": "null"}]},
        "description": "For each row an object of your own, or null; results keep it.",
    }
    return record({**rows, "meta": meta, "store": STORE, "timeout_ms": TIMEOUT, "outputs": outputs}, list(rows))


def request_schemas(outputs: Schema = OUTPUTS) -> dict[str, Schema]:
    """The two bodies: rows, or the ids of stored inputs."""
    rows = {
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_ROWS_LATER,
        "items": INSTANCE,
        "description": f"The rows, up to {MOST_ROWS:,}; with `Prefer: respond-async` up to {MOST_ROWS_LATER:,}.",
    }
    ids = {
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_ROWS,
        "items": OBJECT_ID,
        "description": "The ids of stored inputs.",
    }
    return {
        "PredictRows": _request({"instances": rows}, outputs),
        "PredictInputs": _request({"inputs": ids}, outputs),
    }


def prediction_schema(label: Schema | None = None, *, always: bool = False) -> Schema:
    """One row's prediction; `label`: the schema of the class where it has one, `always` where it always has."""
    properties: dict[str, Schema] = {
        "_id": {**OBJECT_ID, "description": "The stored result; absent with `store: none`."},
        "input": {**OBJECT_ID, "description": "The stored row, where it is stored."},
        "output": OUTPUT,
    }
    if label is not None:
        properties["label"] = label
        properties["score"] = {
            "type": ["number", "null"],
            "description": "That class's value as the model gave it.",
        }
    return record(properties, ["output", *(["label", "score"] if always else [])])


def reply_schema(model: Schema, version: Schema) -> Schema:
    """The whole answer."""
    timing = {
        "queue_ms": {"type": "number", "description": "Milliseconds that the rows waited."},
        "compute_ms": {"type": "number", "description": "Milliseconds that the executor took for their batch."},
        "batch": {"type": "integer", "description": "Rows in that batch."},
        "total_ms": {"type": "number", "description": "Milliseconds in all."},
    }
    return record(
        {
            "model": model,
            "version": version,
            "predictions": {"type": "array", "items": ref("Prediction"), "description": "In the order of the rows."},
            "timing": record(timing, list(timing)),
        },
        ["model", "version", "predictions", "timing"],
    )


for _name, _schema in request_schemas().items():
    named(_name, _schema)
named(
    "Prediction",
    prediction_schema({"type": "string", "description": "The class, where the model has classes."}),
)
named("Predictions", reply_schema({"type": "string"}, {"type": "integer", "minimum": 1}))

FORM_SCHEMA = named(
    "PredictForm",
    record(
        {
            "file": {"type": "array", "minItems": 1, "items": BINARY, "description": "A row each: PNG, JPEG or .npy."},
            "resize": {
                "type": "string",
                "enum": ["true", "false"],
                "description": "Whether images of another size than the model's are resized.",
            },
            "store": STORE,
            "timeout_ms": TIMEOUT,
            "outputs": {"type": "string", "description": "Names with commas between."},
        },
        ["file"],
    ),
)
_ONLY_NPY = "With a .npy body alone, which has no fields: "
_QUERY = (
    Query("store", STORE, f"{_ONLY_NPY}what is kept."),
    Query("timeout_ms", TIMEOUT, f"{_ONLY_NPY}milliseconds after which the answer is no longer wanted."),
    Query("outputs", {"type": "string"}, f"{_ONLY_NPY}names of outputs with commas between."),
)
_FILES = "image/png, image/jpeg, application/x-npy, application/octet-stream"

EXAMPLES: dict[str, Any] = {
    "rows": {"instances": [[5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3]]},
    "byName": {"instances": [{"measures": [5.1, 3.5, 1.4, 0.2]}], "meta": [{"bed": 3}], "store": "result"},
    "storedInputs": {"inputs": ["6b00e4c0d035a01704bf37b4"], "timeout_ms": 500},
}
REPLY_EXAMPLE: dict[str, Any] = {
    "model": "iris",
    "version": 1,
    "predictions": [
        {
            "_id": "6b00e4c0d035a01704bf37b5",
            "input": "6b00e4c0d035a01704bf37b4",
            "output": [0.97, 0.02, 0.01],
            "label": "setosa",
            "score": 0.97,
        }
    ],
    "timing": {"queue_ms": 0.09, "compute_ms": 0.183, "batch": 1, "total_ms": 1.245},
}
_JOB: dict[str, Any] = {
    "model": "iris",
    "version": 1,
    "inputs": ["6b00e4c0d035a01704bf37b4"],
    "priority": 5,
    "max_attempts": 3,
    "status": "queued",
    "progress": {"total": None, "done": 0, "failed": 0, "rows_per_second": None},
    "attempts": 0,
    "request": "3c1a7c1d50cf4e0f8e1c5b7a0f3f9c52",
    "owner": "admin",
    "_id": "6b00e4c0d035a01704bf37b6",
    "_created": "2026-01-01T12:00:00.000Z",
    "_updated": "2026-01-01T12:00:00.000Z",
    "_etag": "8ff0cf3e51a24e3dbb5a3e3c",
    "_status": "OK",
}
ACCEPTED = Answer(
    "With `Prefer: respond-async`: the rows are stored, and this job gives their results.",
    {JSON: Media(ref("Job"), {"job": _JOB})},
    ("Location", "ETag", "Preference-Applied"),
)


def predict_operation(id_: str, summary: str, description: str = "") -> Operation:
    """The description of one of the routes; they differ in which version is meant."""
    return Operation(
        id=id_,
        tag="predict",
        summary=summary,
        description=description,
        query=_QUERY,
        headers=("Prefer-Async",),
        body=Body(
            {
                JSON: Media({"anyOf": [ref("PredictRows"), ref("PredictInputs")]}, EXAMPLES),
                NPY: Media({**BINARY, "description": "A batch: the first axis is the rows."}),
                FORM: Media(FORM_SCHEMA, encoding={"file": {"contentType": _FILES}}),
            }
        ),
        answers={
            200: Answer(
                "A prediction for each row. With `Accept: application/x-npy` the first output as an array.",
                {JSON: Media(ref("Predictions"), {"iris": REPLY_EXAMPLE}), NPY: Media(BINARY)},
            ),
            202: ACCEPTED,
        },
        errors={
            404: "There is no such model, version or alias, or no such input; the message names what there is.",
            409: "The version is loading, failed or retired; or the Idempotency-Key belongs to another request.",
            415: "",
            422: "Rows or fields do not fit; `_issues` names the row and the input, what was expected and what came.",
            500: "The model failed on these rows; they have failed results. Or a defect: the log has the request's id.",
            504: "",
        },
    )
