"""Health: whether the process runs, and whether it can be sent requests."""

from __future__ import annotations

from flask import Blueprint, Response, current_app

from api.openapi.describe import JSON, Answer, Media, Operation, describes, record
from api.render import dumps
from api.responses import json_answer
from ml.service import Service

blueprint = Blueprint("health", __name__, url_prefix="/health")


@blueprint.get("/live")
@describes(
    Operation(
        id="getLiveness",
        tag="health",
        summary="Ask whether the process runs",
        answers={
            200: Answer(
                "It runs.",
                {JSON: Media(record({"live": {"type": "boolean", "const": True}}, ["live"]), {"live": {"live": True}})},
            )
        },
        never=(503,),
    )
)
def live() -> Response:
    """200 while the process runs."""
    return json_answer({"live": True})


_READY = record({"ready": {"type": "boolean", "const": True}}, ["ready"])
_NOT_READY = record(
    {"ready": {"type": "boolean", "const": False}, "reasons": {"type": "array", "items": {"type": "string"}}},
    ["ready", "reasons"],
)
_WHY = {"ready": False, "reasons": ["the models collection was not read yet"]}


@blueprint.get("/ready")
@describes(
    Operation(
        id="getReadiness",
        tag="health",
        summary="Ask whether it can be sent requests",
        answers={
            200: Answer(
                "The database answers, and the models that are kept here were loaded once.",
                {JSON: Media(_READY, {"ready": {"ready": True}})},
            ),
            503: Answer("Not yet, or not now, and why.", {JSON: Media(_NOT_READY, {"starting": _WHY})}),
        },
    )
)
def ready() -> Response:
    """200 when the database answers and the models that this replica keeps were loaded once; else 503 with reasons."""
    service: Service = current_app.extensions["service"]
    problem = service.liveness.problem()
    reasons = [problem] if problem else []
    reasons += service.registry.reasons_not_ready()
    body = dumps({"ready": not reasons, **({"reasons": reasons} if reasons else {})})
    return Response(body, 503 if reasons else 200, mimetype="application/json")
