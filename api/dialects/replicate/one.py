"""One prediction: as it stands, and canceled."""

from __future__ import annotations

from api.audit import entry_for
from api.dialects.predicting import the_service
from api.dialects.replicate.blueprint import blueprint
from api.dialects.replicate.described import CANCEL, GET
from api.dialects.replicate.query import only
from api.dialects.replicate.shown import found, shown
from api.errors import ApiError
from api.openapi.describe import describes
from api.responses import AlmanacResponse, json_answer
from ml.errors import Changed
from ml.service import JOB_ENDED, JOB_STATES

#: Tries of a cancel while workers change the job.
MOST_TRIES = 10


@blueprint.get("/v1/predictions/<prediction>")
@describes(GET)
def get(prediction: str) -> AlmanacResponse:
    """The prediction as it stands."""
    only()
    return json_answer(shown([found(prediction)])[0])


@blueprint.post("/v1/predictions/<prediction>/cancel")
@describes(CANCEL)
def cancel(prediction: str) -> AlmanacResponse:
    """End the prediction where it has not ended; it is answered as it stands then."""
    only()
    tries = MOST_TRIES
    while (job := found(prediction)).get("status") not in JOB_ENDED:
        if job.get("status") not in JOB_STATES or not isinstance(job.get("_etag"), str):
            raise ApiError(409, "the prediction has no state: it was not made by Almanac")
        try:
            the_service().jobs.update(job, {"status": "canceled"}, entry_for("change", "jobs", 200, ["status"]))
        except Changed:
            tries -= 1
            if not tries:
                raise ApiError(503, "the prediction is changed by others all the time: try again") from None
    return json_answer(shown([job])[0])
