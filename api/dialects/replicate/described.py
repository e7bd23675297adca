"""How Replicate's routes are described for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.dialects.replicate.asked import EVENTS
from api.dialects.replicate.blueprint import NAME
from api.dialects.replicate.paging import CURSOR, page_schema
from api.openapi.describe import JSON, Answer, Body, Media, Operation, Schema, named, record
from api.routes.jobs import EVENT_STREAM
from ml.service import PREDICTION_STATUSES

PREFER = "Prefer-Prediction"
CANCEL_AFTER = "Cancel-After"

_STRING: Schema = {"type": "string"}
_URL: Schema = {"type": "string", "format": "uri"}
_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
REQUEST_HEADERS: Mapping[str, Schema] = {
    PREFER: {
        "name": "Prefer",
        "description": "`wait=30`: answer when the prediction has ended, or after 30 seconds; `wait` is 60, the most.",
        "schema": _STRING,
        "examples": {"wait": {"value": "wait=30"}},
    },
    CANCEL_AFTER: {
        "name": CANCEL_AFTER,
        "description": "How long the prediction may take from now, such as `30s`, `5m`, `1h30m` or `1d`, 30 days at "
        "most: then it is `canceled`, or `aborted` where it has not started.",
        "schema": {"type": "string", "pattern": "^(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s?)?$"},
    },
}

_REQUEST_FIELDS: Mapping[str, Schema] = {
    "input": {
        "type": "object",
        "description": "One row, by the names of the model's inputs: values as in an instance, or a file (png, jpeg or "
        "npy) as a data URL or as the URL of one uploaded to `/v1/files`.",
    },
    "webhook": {"type": ["string", "null"], "description": "An http or https URL that is told of the prediction."},
    "webhook_completed": {"type": ["string", "null"], "description": "The same, for `completed` alone."},
    "webhook_events_filter": {
        "type": ["array", "null"],
        "items": {"type": "string", "enum": list(EVENTS)},
        "description": "What the webhook is told of; everything where nothing is said. `output` and `completed` come "
        "together, and there are no `logs`.",
    },
    "stream": {"type": ["boolean", "null"], "description": "Changes nothing: every prediction has a stream."},
}
_VERSION: Mapping[str, Schema] = {
    "version": {
        **_STRING,
        "description": "`name`, `name:number` or `name:alias`, with `owner/` before it or without, or the digest of a "
        "version.",
    }
}
REQUEST = named("ReplicateRequest", record({**_VERSION, **_REQUEST_FIELDS}, ["version"]))
REQUEST_FOR_MODEL = named("ReplicateModelRequest", record(_REQUEST_FIELDS))
REQUEST_ONCE = named(
    "ReplicateRequestOnce",
    record(
        {"id": {**_STRING, "description": "That of the path."}, **_VERSION, **_REQUEST_FIELDS},
        ["version"],
    ),
)
PREDICTION = named(
    "ReplicatePrediction",
    record(
        {
            "id": _STRING,
            "model": {**_STRING, "description": "`owner/name`."},
            "version": {**_STRING, "description": "The digest of the version's file."},
            "status": {"type": "string", "enum": list(PREDICTION_STATUSES)},
            "input": {"type": "object", "description": "As it was read; of a file that came as a URL, the URL."},
            "output": {"description": "The output; several are an object by name. Null until it has succeeded."},
            "logs": {**_STRING, "description": "Empty: models write none."},
            "error": {"type": ["string", "null"], "description": "Why there is no output."},
            "metrics": {
                "type": "object",
                "properties": {"predict_time": {"type": "number"}, "total_time": {"type": "number"}},
                "description": "Seconds from the start and from the creation to the end; empty before.",
            },
            "created_at": _TIME,
            "started_at": _TIME,
            "completed_at": _TIME,
            "data_removed": {"type": "boolean", "description": "Whether its input or its output was deleted."},
            "source": _STRING,
            "urls": record(
                {"get": _URL, "cancel": _URL, "stream": _URL, "web": _URL}, ["get", "cancel", "stream", "web"]
            ),
        },
        ["id", "model", "version", "status", "input", "output", "created_at", "urls"],
        "In lists a tensor of more than 1,024 values is `{dtype, shape}`.",
    ),
)
_EXAMPLE_URL = "https://almanac.example/v1/predictions/6b00e4c0d035a01704bf37c1"
_STARTING: dict[str, Any] = {
    "id": "6b00e4c0d035a01704bf37c1",
    "model": "admin/iris",
    "version": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "status": "starting",
    "input": {"measures": [5.1, 3.5, 1.4, 0.2]},
    "output": None,
    "logs": "",
    "error": None,
    "metrics": {},
    "created_at": "2026-01-01T12:00:00.000Z",
    "started_at": None,
    "completed_at": None,
    "data_removed": False,
    "source": "api",
    "urls": {
        "get": _EXAMPLE_URL,
        "cancel": f"{_EXAMPLE_URL}/cancel",
        "stream": f"{_EXAMPLE_URL}/stream",
        "web": "https://almanac.example/console/jobs/6b00e4c0d035a01704bf37c1",
    },
}
_SUCCEEDED = {
    **_STARTING,
    "status": "succeeded",
    "output": [0.97, 0.02, 0.01],
    "metrics": {"predict_time": 0.02, "total_time": 0.08},
    "started_at": "2026-01-01T12:00:00.060Z",
    "completed_at": "2026-01-01T12:00:00.080Z",
}
_CANCELED = {
    **_STARTING,
    "status": "canceled",
    "metrics": {"total_time": 0.08},
    "completed_at": "2026-01-01T12:00:00.080Z",
}
_INPUT = {"input": {"measures": [5.1, 3.5, 1.4, 0.2]}}
_WITH_WEBHOOK = {"webhook": "https://example.com/replicate", "webhook_events_filter": ["completed"]}
_PATH = {
    "prediction": "The prediction's id: that of its job, or the one that its owner gave it.",
    "owner": "Anything: names of models are unique here.",
}
_CREATED = Answer(
    "The prediction: with `Prefer: wait` where it ended in that time as it ended; else it is `starting`.",
    {JSON: Media(PREDICTION, {"starting": _STARTING, "succeeded": _SUCCEEDED})},
    ("Location", "Preference-Applied"),
)
_ERRORS = {
    404: "There is no such model or version; the text names what there is.",
    409: "The version is not available (yet, or any more).",
    415: "",
    422: "",
}


def _create(id_: str, summary: str, schema: Schema, body: Mapping[str, Any]) -> Operation:
    return Operation(
        id=id_,
        tag=NAME,
        summary=summary,
        description="A row and a job over it are stored together: it is computed whatever happens to this server.",
        body=Body({JSON: Media(schema, {"plain": body, "webhook": {**body, **_WITH_WEBHOOK}})}),
        answers={201: _CREATED},
        errors=_ERRORS,
        headers=(PREFER, CANCEL_AFTER),
        path=_PATH,
    )


CREATE = _create("replicateCreate", "Create a prediction", REQUEST, {"version": "iris", **_INPUT})
CREATE_FOR_MODEL = _create("replicateCreateForModel", "Create a model's prediction", REQUEST_FOR_MODEL, _INPUT)
CREATE_FOR_DEPLOYMENT = _create(
    "replicateCreateForDeployment", "Create a deployment's prediction", REQUEST_FOR_MODEL, _INPUT
)
CREATE_ONCE = Operation(
    id="replicateCreateOnce",
    tag=NAME,
    summary="Create a prediction under an id of your own, once",
    description="The same request again is answered with the same prediction, for as long as that is kept.",
    body=Body({JSON: Media(REQUEST_ONCE, {"plain": {"version": "iris", **_INPUT}})}),
    answers={
        200: Answer("It was there already.", {JSON: Media(PREDICTION, {"succeeded": _SUCCEEDED})}, _CREATED.headers),
        201: _CREATED,
    },
    errors={**_ERRORS, 409: "The id belongs to another request; or the version is not available (yet, or any more)."},
    headers=(PREFER, CANCEL_AFTER),
    path=_PATH,
)
GET = Operation(
    id="replicateGet",
    tag=NAME,
    summary="Get a prediction",
    answers={200: Answer("It as it stands.", {JSON: Media(PREDICTION, {"succeeded": _SUCCEEDED})})},
    path=_PATH,
)
CANCEL = Operation(
    id="replicateCancel",
    tag=NAME,
    summary="Cancel a prediction",
    description="Without a body. One that has ended stays as it is.",
    errors={409: "Another program stored it, without a state."},
    answers={200: Answer("It as it stands then.", {JSON: Media(PREDICTION, {"canceled": _CANCELED})})},
    path=_PATH,
)
LIST = Operation(
    id="replicateList",
    tag=NAME,
    summary="List predictions",
    description="Those that were created here, the newest first, a hundred on a page.",
    query=(CURSOR,),
    answers={
        200: Answer(
            "A page, and the URLs of its neighbours.",
            {
                JSON: Media(
                    named("ReplicatePredictions", page_schema(PREDICTION)),
                    {"one": {"previous": None, "next": None, "results": [_SUCCEEDED]}},
                )
            },
        )
    },
)
STREAM = Operation(
    id="replicateStream",
    tag=NAME,
    summary="Watch a prediction",
    description="Server-Sent Events, once it has ended: `output` (a text as it is, else JSON) or `error`, then `done`.",
    answers={
        200: Answer(
            "The stream.",
            {
                EVENT_STREAM: Media(
                    {"type": "string", "description": "Events: `id`, `event` (output, error or done) and `data`."},
                    {"done": "retry: 2000\n\nid: 1d0a6e7a4dbb91cf-done\nevent: done\ndata: {}\n\n"},
                    item=_STRING,
                )
            },
            ("Cache-Control",),
        ),
        204: Answer("It has ended, and `Last-Event-ID` is that of its end.", {}, ("Cache-Control",)),
    },
    headers=("Last-Event-ID",),
    path=_PATH,
)
SECRET = Operation(
    id="replicateWebhookSecret",
    tag=NAME,
    summary="Get the secret that signs your webhooks",
    description="That of `/api/v1/webhooks/secret`.",
    answers={
        200: Answer(
            "The secret, as Standard Webhooks has it.",
            {
                JSON: Media(
                    named("ReplicateWebhookSecret", record({"key": {"type": "string", "pattern": "^whsec_"}}, ["key"])),
                    {"key": {"key": "whsec_wBkJmfFofQ7iaBYvIDenfQaHselvEbxCWl+idGcS5Mo="}},
                )
            },
            ("Cache-Control",),
        )
    },
)
