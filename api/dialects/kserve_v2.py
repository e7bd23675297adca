"""KServe's v2 protocol, the Open Inference Protocol over REST, as Triton and its clients speak it: `/v2/...`."""

from __future__ import annotations

import re

from flask import Blueprint, current_app

from api.dialects.base import Dialect, in_a_sentence
from api.openapi.describe import JSON, Answer, Media, Operation, describes, named, record
from api.render import MIME, dumps
from api.responses import AlmanacResponse
from ml.service import Service

NAME = "kserve_v2"
blueprint = Blueprint(NAME, __name__, url_prefix="/v2")

_ERROR = named(
    "KServeError",
    record({"error": {"type": "string", "description": "What is wrong, and where."}}, ["error"]),
)


@blueprint.get("/health/live")
@describes(
    Operation(
        id="kserveLive",
        tag=NAME,
        summary="Ask whether the process runs",
        answers={
            200: Answer(
                "It runs.",
                {JSON: Media(record({"live": {"type": "boolean", "const": True}}, ["live"]), {"live": {"live": True}})},
            )
        },
        never=(400, 503),
    )
)
def live() -> AlmanacResponse:
    """200 while the process runs."""
    return AlmanacResponse(dumps({"live": True}), mimetype=MIME)


_READY = record({"live": {"type": "boolean"}, "ready": {"type": "boolean"}}, ["live", "ready"])


@blueprint.get("/health/ready")
@describes(
    Operation(
        id="kserveReady",
        tag=NAME,
        summary="Ask whether it can be sent requests",
        answers={
            200: Answer("As `/health/ready`.", {JSON: Media(_READY, {"ready": {"live": True, "ready": True}})}),
            400: Answer("Not yet, or not now.", {JSON: Media(_READY, {"starting": {"live": True, "ready": False}})}),
        },
        never=(503,),
    )
)
def ready() -> AlmanacResponse:
    """200 when `/health/ready` is, else 400, as Triton has it."""
    service: Service = current_app.extensions["service"]
    fine = service.liveness.problem() is None and not service.registry.reasons_not_ready()
    return AlmanacResponse(dumps({"live": True, "ready": fine}), 200 if fine else 400, mimetype=MIME)


DIALECT = Dialect(
    name=NAME,
    blueprint=blueprint,
    paths=re.compile(r"/v2(?=/|\Z)"),
    permissions={},
    public=frozenset({f"{NAME}.live", f"{NAME}.ready"}),
    # Triton has 400 for every kind of wrong request, and a model that is not ready is unavailable.
    statuses={409: 503, 412: 400, 415: 400, 422: 400},
    error=lambda error: {"error": in_a_sentence(error)},
    error_schema=_ERROR,
    about="KServe's v2 protocol (Open Inference Protocol), as Triton and its clients speak it.",
)
