"""Models as files: the multipart POST that registers a .keras file as the next version of a name."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Blueprint, Response, current_app, request

from api.audit import entry_for
from api.auth.caller import current_caller
from api.auth.models import permit_model
from api.errors import ApiError
from api.openapi.describe import BINARY, JSON, Answer, Body, Media, Operation, Schema, describes, record, ref
from api.present import present
from api.render import dumps
from api.requests import refuse_secrets
from api.resources import RESOURCES
from ml.service import Service

blueprint = Blueprint("model_files", __name__, url_prefix="/api/v1")

FORM = "multipart/form-data"
FILES = ("file", "sample")
FIELDS = ("name", "classes", "aliases", "description")


def _several(text: str) -> Schema:
    return {
        "type": "string",
        "description": f"{text} A list as JSON, or names with commas between; the field may be given several times.",
    }


_UPLOAD = record(
    {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
        "file": {**BINARY, "description": "A .keras file."},
        "classes": _several("Names of the classes."),
        "aliases": _several("Aliases that are to mean this version once it is available."),
        "description": {"type": "string", "maxLength": 10_000},
        "sample": {**BINARY, "description": "Rows as .npy, for the proof that what is built is equal to Keras."},
    },
    ["name", "file"],
)
_REGISTERED = {
    **{name: RESOURCES["models"].example[name] for name in ("_id", "name", "version", "digest", "size", "classes")},
    **{name: RESOURCES["models"].example[name] for name in ("owner", "_created", "_updated", "_etag")},
    "state": "loading",
    "aliases": [],
    "_status": "OK",
}


@blueprint.post("/models")
@describes(
    Operation(
        id="registerModel",
        tag="models",
        summary="Register a .keras file as the next version of a name",
        description="The version is `loading` until it is built and proven equal to Keras; then it is `available`, or "
        "`failed` with the reason.",
        body=Body({FORM: Media(_UPLOAD, encoding={"file": {"contentType": "application/octet-stream"}})}),
        answers={
            201: Answer(
                "The version as it is now.",
                {JSON: Media(ref("Model"), {"loading": _REGISTERED})},
                ("Location", "ETag"),
            )
        },
        errors={
            403: "The name belongs to another owner.",
            413: "The file is larger than `ALMANAC_MAX_MODEL_MB`.",
            415: "",
            422: "",
        },
    )
)
def register() -> Response:
    """Store the file, answer 201 with the version's document, `state` loading; a build makes it available."""
    # Werkzeug writes large parts to disk as they come, so a model may be larger than other bodies.
    request.max_content_length = current_app.config["MAX_MODEL_BYTES"]
    if request.mimetype != FORM:
        came = request.headers.get("Content-Type") or "none"
        raise ApiError(415, f"expected Content-Type {FORM}, got {came[:100]}")
    fields = _fields()
    service: Service = current_app.extensions["service"]
    caller = current_caller()
    permit_model(caller, fields["name"])
    sample = request.files.get("sample")
    document = service.catalog.register(
        request.files["file"].stream,
        owner=caller.owner,
        admin=caller.is_admin,
        sample=sample.stream if sample else None,
        entry=entry_for("register", "models", 201),
        **fields,
    )
    shown = {name: document[name] for name in (*RESOURCES["models"].schema, *_STAMPS) if name in document}
    location = f"/api/v1/models/{document['_id']}"
    body = dumps({**present("models", shown, short=False), "_status": "OK"})
    return Response(body, 201, {"Location": location, "ETag": f'"{document["_etag"]}"'}, mimetype="application/json")


_STAMPS = ("_id", "_created", "_updated", "_etag")


def _fields() -> dict[str, Any]:
    refuse_secrets(*(value for _, value in request.form.items(multi=True)))
    issues = {
        name: f"no such field; there are {', '.join(FILES + FIELDS)}"
        for name in (*request.form, *request.files)
        if name not in (FIELDS if name in request.form else FILES)
    }
    for name in FILES:
        if len(request.files.getlist(name)) > 1:
            issues[name] = "expected one file, got several"
    for name in ("name", "description"):
        if len(request.form.getlist(name)) > 1:
            issues[name] = "expected one value, got several"
    if "file" not in request.files:
        issues.setdefault("file", "expected a .keras file, got nothing")
    fields: dict[str, Any] = {"name": request.form.get("name", "")}
    if "name" not in request.form:
        issues["name"] = "expected the model's name, got nothing"
    for name in ("classes", "aliases"):
        values = request.form.getlist(name)
        if values:
            fields[name] = _names(values, name, issues)
    if "description" in request.form:
        fields["description"] = request.form["description"]
        if len(fields["description"]) > 10_000:
            issues["description"] = "expected at most 10000 characters"
    if issues:
        raise ApiError(422, "the model was not registered", issues)
    return fields


def _names(values: list[str], field: str, issues: dict[str, str]) -> list[str]:
    """A JSON list, names with commas between, or the field given several times."""
    if len(values) == 1 and values[0].lstrip().startswith("["):
        try:
            names = orjson.loads(values[0])
        except orjson.JSONDecodeError as error:
            issues[field] = f"not JSON: {error}"
            return []
        if not all(isinstance(name, str) for name in names):
            issues[field] = "expected a list of strings"
            return []
        return list(names)
    return [name.strip() for value in values for name in value.split(",")]
