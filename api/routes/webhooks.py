"""The secret that signs a caller's webhooks: shown to its owner, and replaced."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request

from api.audit import entry_for
from api.auth.caller import current_caller
from api.errors import ApiError
from api.openapi.describe import JSON, Answer, Media, Operation, describes, named, record
from api.responses import json_answer
from ml.service import Service, Webhooks

blueprint = Blueprint("webhooks", __name__, url_prefix="/api/v1/webhooks")


_SECRET = named("WebhookSecret", record({"secret": {"type": "string", "pattern": "^whsec_"}}, ["secret"]))
_SHOWN = Answer(
    "The secret, as Standard Webhooks has it.",
    {JSON: Media(_SECRET, {"secret": {"secret": "whsec_wBkJmfFofQ7iaBYvIDenfQaHselvEbxCWl+idGcS5Mo="}})},  # nosec B105 # an example
    ("Cache-Control",),
)


@blueprint.get("/secret")
@describes(
    Operation(
        id="getWebhookSecret",
        tag="webhooks",
        summary="Get the secret that signs your webhooks",
        description="It is made at the first request.",
        answers={200: _SHOWN},
    )
)
def secret() -> Response:
    """The caller's own, which is made where there is none."""
    return _answer(_webhooks().secret(current_caller().owner))


@blueprint.post("/secret")
@describes(
    Operation(
        id="rotateWebhookSecret",
        tag="webhooks",
        summary="Replace the secret that signs your webhooks",
        description="Without a body. Webhooks are signed with both for a day.",
        answers={200: _SHOWN},
        errors={403: "A reader may not replace it.", 413: "", 422: "There is a body."},
    )
)
def rotate() -> Response:
    """Another one; webhooks are signed with both for a day."""
    if request.get_data():
        raise ApiError(422, "the secret is made here", {"body": "expected nothing"})
    return _answer(_webhooks().rotate(current_caller().owner, entry_for("rotate", "webhook secret", 200)))


def _webhooks() -> Webhooks:
    if request.args:
        raise ApiError(400, "there are no parameters here", dict.fromkeys(request.args, "unknown"))
    service: Service = current_app.extensions["service"]
    return service.webhooks


def _answer(shown: str) -> Response:
    return json_answer({"secret": shown}, headers={"Cache-Control": "no-store"})
