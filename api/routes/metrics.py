"""/metrics: what was counted and timed, in Prometheus' text format."""

from __future__ import annotations

from flask import Blueprint, Response

from api.openapi.describe import Answer, Media, Operation, describes
from ml.service import exposition

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@describes(
    Operation(
        id="getMetrics",
        tag="operations",
        summary="Read what is counted and timed",
        description="For the administrator, or for all with `ALMANAC_METRICS_PUBLIC`.",
        answers={
            200: Answer(
                "Prometheus' text format, summed over the processes.",
                {"text/plain": Media({"type": "string"}, {"some": "almanac_refused_total 0.0\n"})},
            )
        },
        errors={403: "Metrics are for the administrator."},
    )
)
def metrics() -> Response:
    """For the administrator, or for all with ALMANAC_METRICS_PUBLIC."""
    return Response(exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")
