"""The secret that signs the webhooks of predictions: that of all webhooks of the caller."""

from __future__ import annotations

from api.auth.caller import current_caller
from api.dialects.predicting import the_service
from api.dialects.replicate.blueprint import blueprint
from api.dialects.replicate.described import SECRET
from api.dialects.replicate.query import only
from api.openapi.describe import describes
from api.responses import AlmanacResponse, json_answer


@blueprint.get("/v1/webhooks/default/secret")
@describes(SECRET)
def secret() -> AlmanacResponse:
    """The caller's own, which is made where there is none."""
    only()
    key = the_service().webhooks.secret(current_caller().owner)
    return json_answer({"key": key}, headers={"Cache-Control": "no-store"})
