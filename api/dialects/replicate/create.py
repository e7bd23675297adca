"""Create a prediction: a row and a job over it, stored together; perhaps under an id of the caller's own."""

from __future__ import annotations

import re
import time

from flask import g
from pymongo.errors import PyMongoError

from api.audit import entry_for
from api.auth.caller import current_caller
from api.dialects.predicting import the_service
from api.dialects.replicate.addresses import url_of
from api.dialects.replicate.asked import Asked, read_asked
from api.dialects.replicate.blueprint import NAME, blueprint
from api.dialects.replicate.cancel_after import seconds_allowed
from api.dialects.replicate.described import CREATE, CREATE_FOR_DEPLOYMENT, CREATE_FOR_MODEL, CREATE_ONCE
from api.dialects.replicate.inputs import read_input
from api.dialects.replicate.query import only
from api.dialects.replicate.shown import shown
from api.dialects.replicate.versions import Reference, meant_by, reference
from api.errors import CODES, ApiError
from api.openapi.describe import describes
from api.preferences import preferences
from api.responses import AlmanacResponse, json_answer
from ml.database.client import Document
from ml.errors import Invalid, Overloaded, ServiceError
from ml.service import JOB_ENDED, LiveModel, Load, Prediction, count_request, prediction_job_id

#: The longest that a request is kept waiting, in seconds, and how long one is that does not say.
MOST_SECONDS = 60
#: An id of the caller's own: it is part of URLs.
SANE_ID = re.compile(r"[A-Za-z0-9._~-]{1,100}")

# Where a path can be read, too, OPTIONS is the reader's: more callers may do that.


@blueprint.post("/v1/predictions", provide_automatic_options=False)
@describes(CREATE)
def create() -> AlmanacResponse:
    """A prediction with the version that the body names."""
    return _created(None, None)


@blueprint.post("/v1/models/<owner>/<name>/predictions")
@describes(CREATE_FOR_MODEL)
def create_for_model(name: str, **_: str) -> AlmanacResponse:
    """A prediction with the version that `stable` names, else with the newest available; the owner is not looked at."""
    return _created(Reference(name), None)


@blueprint.post("/v1/deployments/<owner>/<name>/predictions")
@describes(CREATE_FOR_DEPLOYMENT)
def create_for_deployment(name: str, **_: str) -> AlmanacResponse:
    """The same: a model is deployed as soon as it is available."""
    return _created(Reference(name), None)


@blueprint.put("/v1/predictions/<prediction>", provide_automatic_options=False)
@describes(CREATE_ONCE)
def create_once(prediction: str) -> AlmanacResponse:
    """The caller's prediction with this id: made now, or as it stands, however often and wherever it is asked for."""
    if not SANE_ID.fullmatch(prediction):
        issue = f"expected 1 to 100 of A-Z a-z 0-9 . _ ~ -, got {prediction[:100]!r}"
        raise ApiError(422, "the prediction does not fit", {"id": issue})
    return _created(None, prediction)


def _created(model: Reference | None, id_: str | None) -> AlmanacResponse:
    only()
    service, status = the_service(), 201
    # Refused before anything is read, as every prediction.
    service.admission.take()
    try:
        asked, seconds = read_asked(id_, versioned=model is None), seconds_allowed()
        job = None if id_ is None else _made_before(id_, asked)
        if job is not None:
            status = 200
        else:
            job = _submitted(model or reference(asked.version or ""), asked, id_, seconds)
    finally:
        service.admission.give()
    waited = _seconds_to_wait()
    if waited and job.get("status") not in JOB_ENDED:
        job = _awaited(job, waited)
    (prediction,) = shown([job])
    if prediction["completed_at"] is None:
        # Clients that have waited take everything else for the end, and look no more.
        prediction |= {"status": "starting", "started_at": None}
    applied = {"Preference-Applied": f"wait={waited}"} if waited else {}
    return json_answer(prediction, status, {"Location": prediction["urls"]["get"], **applied})


def _submitted(which: Reference, asked: Asked, id_: str | None, seconds: int | None) -> Document:
    """The job, stored with its row; the one that is there where another request with this id was quicker."""
    service, caller = the_service(), current_caller()
    meant: LiveModel | Load | None = None
    try:
        meant = meant_by(which)
        arrays, urls = read_input(asked.input, meant.signature)
        version = meant.version
        facts = {
            "digest": asked.digest,
            "model": f"{version.document.get('owner', 'admin')}/{version.name}",
            "version": version.document.get("digest") or str(version.number),
            "inputs": [spec.name for spec in meant.signature.inputs],
            "base": url_of(""),
            **({"files": urls} if urls else {}),
            **({"id": id_} if id_ is not None else {}),
        }
        more = {
            "protocol": NAME,
            "prediction": facts,
            **({"webhook": asked.webhook} if asked.webhook else {}),
            **({"_id": prediction_job_id(caller.owner, id_)} if id_ is not None else {}),
        }
        prediction = Prediction(
            model=version.name,
            version=version.number,
            arrays=arrays,
            owner=caller.owner,
            scope=caller.scope("inputs"),
            request=g.request_id,
        )
        entry = entry_for("create", "jobs", 201)
        job = service.predict_later(prediction, meant, entry, more=more, cancel_after=seconds)
    except (ApiError, ServiceError) as error:
        code = error.code if isinstance(error, ApiError) else CODES[type(error)]
        count_request(meant.version.key if meant else ("", ""), code)
        if isinstance(error, Invalid) and "instances[0]" in error.issues:  # a row that is too large
            raise ApiError(422, str(error), {"input": error.issues["instances[0]"]}) from None
        raise
    if id_ is not None:
        _check_same(job, id_, asked)
    count_request(meant.version.key, 201)
    return job


def _made_before(id_: str, asked: Asked) -> Document | None:
    """The job of the caller's own prediction with this id, where there is one. Raises a 409 for another request's."""
    owner = current_caller().owner
    job = the_service().predictions.find(id_, owner, {"owner": owner})
    if job is not None:
        _check_same(job, id_, asked)
    return job


def _check_same(job: Document, id_: str, asked: Asked) -> None:
    facts = job.get("prediction")
    if not isinstance(facts, dict) or facts.get("digest") != asked.digest:
        raise ApiError(409, f"the prediction {id_!r} was created by a request with another body")


def _seconds_to_wait() -> int:
    """For how long this request may be kept waiting; 0: not at all."""
    value = preferences().get("wait")
    if value is None:
        return 0
    return min(int(value), MOST_SECONDS) if re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) else MOST_SECONDS


def _awaited(job: Document, seconds: int) -> Document:
    """The job when it has ended, or so many seconds after the request came: its client does not wait for longer.

    It is stored, and its id is to be known: where nobody can wait, or the database went away, it is as it was.
    """
    service = the_service()
    try:
        with service.watching.watch(job["_id"]) as watch:
            watch.wait_for_end(max(0.0, g.began + seconds - time.monotonic()))
        return service.predictions.reload(job) or job
    except (Overloaded, PyMongoError):
        return job
