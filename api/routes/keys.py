"""Another key in the place of one: the same document, owner and role, and the former lives on for a while."""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import NotFound

from api.audit import entry_for
from api.auth.caller import current_caller
from api.errors import ApiError
from api.openapi.describe import JSON, Answer, Body, Media, Operation, describes, record, ref
from api.present import present
from api.render import MIME, dumps
from api.requests import json_body
from api.resources import RESOURCES
from api.resources.base import AUTOMATIC
from ml.identity.keys import GRACE_SECONDS, MOST_GRACE_SECONDS, rotate_key
from ml.service import Service
from ml.tensors.values import describe

blueprint = Blueprint("keys", __name__, url_prefix="/api/v1/keys")

MOST = int(MOST_GRACE_SECONDS)


_GRACE = {"type": "number", "minimum": 0, "maximum": MOST, "description": "Seconds that the former key stays valid."}


@blueprint.post("/<ObjectId:key_id>/rotate")
@describes(
    Operation(
        id="rotateKey",
        tag="keys",
        summary="Replace a key",
        description="The same document with another key; the former one stays valid for a day, or as long as is said.",
        body=Body({JSON: Media(record({"grace_seconds": _GRACE}), {"hour": {"grace_seconds": 3600}})}, required=False),
        answers={
            200: Answer(
                "The document with the new `key`, which is answered this once.",
                {JSON: Media(ref("Key"), {"replaced": {**RESOURCES["keys"].example, "key": "alm_" + "x" * 43}})},
                ("ETag", "Cache-Control"),
            )
        },
        errors={404: "There is no such key.", 415: "", 422: "`grace_seconds` does not fit."},
    )
)
def rotate(key_id: ObjectId) -> Response:
    """The document with a new `key`, which is answered this once; `grace_seconds` says how long the former is valid."""
    if request.args:
        raise ApiError(400, "there are no parameters here", dict.fromkeys(request.args, "unknown"))
    grace = _grace_seconds(json_body() if request.get_data() else {})
    service: Service = current_app.extensions["service"]
    rotated = rotate_key(service.db, key_id, current_caller().scope("keys"), grace, entry_for("rotate", "keys", 200))
    if rotated is None:
        raise NotFound
    document, key = rotated
    service.identity.forget(key_id)
    shown = {name: document[name] for name in (*RESOURCES["keys"].schema, *AUTOMATIC) if name in document}
    body = dumps({**present("keys", shown, short=False), "key": key, "_status": "OK"})
    headers = {"ETag": f'"{document["_etag"]}"', "Cache-Control": "no-store"}
    return Response(body, headers=headers, mimetype=MIME)


def _grace_seconds(body: Any) -> float:
    if not isinstance(body, dict):
        raise ApiError(422, "the request is an object", {"body": f"expected an object, got {describe(body)}"})
    issues = {name: "no such field; there is grace_seconds" for name in body if name != "grace_seconds"}
    grace = body.get("grace_seconds", GRACE_SECONDS)
    if isinstance(grace, bool) or not isinstance(grace, (int, float)) or not 0 <= grace <= MOST:
        issues["grace_seconds"] = f"expected a number from 0 to {MOST}, got {describe(grace)}"
    if issues:
        raise ApiError(422, "the key was not replaced", issues)
    return float(grace)
