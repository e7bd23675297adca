"""/metrics: what was counted and timed, in Prometheus' text format."""

from __future__ import annotations

from flask import Blueprint, Response

from ml.service import exposition

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def metrics() -> Response:
    """For the administrator, or for all with ALMANAC_METRICS_PUBLIC."""
    return Response(exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")
