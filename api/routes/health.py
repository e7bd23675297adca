"""Health: whether the process runs, and whether it can be sent requests."""

from __future__ import annotations

from flask import Blueprint, Response, current_app

from api.render import dumps
from ml.service import Service

blueprint = Blueprint("health", __name__, url_prefix="/health")


@blueprint.get("/live")
def live() -> Response:
    """200 while the process runs."""
    return Response(dumps({"live": True}), mimetype="application/json")


@blueprint.get("/ready")
def ready() -> Response:
    """200 when the database answers and the models that this replica keeps were loaded once; else 503 with reasons."""
    service: Service = current_app.extensions["service"]
    problem = service.liveness.problem()
    reasons = [problem] if problem else []
    reasons += service.registry.reasons_not_ready()
    body = dumps({"ready": not reasons, **({"reasons": reasons} if reasons else {})})
    return Response(body, 503 if reasons else 200, mimetype="application/json")
