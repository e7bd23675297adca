"""`/console/jobs/<id>`: how far one job is, what can be done to it, and which of its rows failed."""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from flask import Blueprint, current_app, flash, redirect, request
from werkzeug.exceptions import NotFound

from api.auth.browsers import TOKEN_FIELD, check_token
from api.auth.caller import current_caller
from api.console import layout
from api.console.forms import pretty
from api.console.progress import progress_of
from api.console.reading import document, issues_of, may, send
from api.openapi.describe import no_operation
from api.responses import AlmanacResponse
from ml.service import JOB_CHANGES, JOB_ENDED, Service, Wanted

blueprint = Blueprint("job_page", __name__, url_prefix="/console", template_folder="templates")

#: Failed rows on a page.
FAILED_ON_PAGE = 20
#: What each wish is called on its button, by the state that a job is in; an ended one runs again.
WISHES = {"paused": "Pause", "queued": "Resume", "canceled": "Cancel"}
RUN_AGAIN = "Run again what is missing or failed"


@blueprint.get("/jobs/<ObjectId:job_id>")
@no_operation
def page(job_id: ObjectId) -> AlmanacResponse:
    """One job."""
    return _page(job_id)


@blueprint.post("/jobs/<ObjectId:job_id>")
@no_operation
def steer(job_id: ObjectId) -> Any:
    """Pause, resume, cancel or run it again, or give it another priority."""
    check_token(request.form.get(TOKEN_FIELD))
    changes: dict[str, Any] = {}
    if "status" in request.form:
        changes["status"] = request.form["status"]
    if "priority" in request.form:
        text = request.form["priority"]
        changes["priority"] = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
    # A state is changed from whichever it is in: what cannot be from there is refused with both.
    answered = send("PATCH", f"jobs/{job_id}", changes, If_Match="*")
    if answered.status == 404:
        raise NotFound
    if answered.status != 200:
        message, issues = issues_of(answered)
        reasons = "; ".join([message, *(f"{name}: {reason}" for name, reason in issues.items())])
        return _page(job_id, reasons, answered.status)
    flash("The priority is changed." if "priority" in changes else f"The job is {answered.json['status']}.")
    return redirect(f"/console/jobs/{job_id}", 303)


def _page(job_id: ObjectId, message: str = "", status: int = 200) -> AlmanacResponse:
    found = document("jobs", job_id)
    if found is None:
        raise NotFound
    state = str(found.get("status"))
    shown = progress_of(found)
    after = request.args.get("after", "")
    failed: list[dict[str, Any]] = []
    if shown["failed"]:
        wanted = Wanted(job=job_id, status="failed", after=ObjectId(after) if ObjectId.is_valid(after) else None)
        failed = _service().review.page(wanted, current_caller().scope("results"), 0, FAILED_ON_PAGE + 1)
    return layout.page(
        "job.html",
        status,
        job=found,
        shown=shown,
        filter=pretty(found["where"]) if found.get("where") else "",
        message=message,
        state=state,
        ended=state in JOB_ENDED,
        states=JOB_ENDED,
        wishes=_wishes(),
        allowed=JOB_CHANGES.get(state, ()),
        may_steer=may("jobs|item_lookup", "PATCH"),
        failed=failed[:FAILED_ON_PAGE],
        further=failed[FAILED_ON_PAGE - 1]["_id"] if len(failed) > FAILED_ON_PAGE else None,
        after=after,
    )


def _wishes() -> list[dict[str, Any]]:
    """A button for each thing that may be done, with the states from which it may."""
    found = []
    for wish, words in WISHES.items():
        begun = [state for state, wishes in JOB_CHANGES.items() if wish in wishes and state not in JOB_ENDED]
        found.append({"wish": wish, "words": words, "states": begun})
    again = [state for state in JOB_ENDED if "queued" in JOB_CHANGES[state]]
    return [*found, {"wish": "queued", "words": RUN_AGAIN, "states": again}]


def _service() -> Service:
    service: Service = current_app.extensions["service"]
    return service
