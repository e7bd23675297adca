"""The pages of jobs: what there is, how far it is, a form that submits one; and one job with what can be done to it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bson import ObjectId
from flask import Blueprint, current_app, flash, redirect, request
from werkzeug.exceptions import NotFound

from api.auth.browsers import TOKEN_FIELD, check_token
from api.auth.caller import current_caller
from api.console import layout
from api.console.job_form import SOURCES, JobForm, job_form_of
from api.console.json_html import time_tag
from api.console.reading import document, get, issues_of, may, send, versions
from api.openapi.describe import no_operation
from api.render import dumps
from api.responses import AlmanacResponse
from ml.service import JOB_CHANGES, JOB_ENDED, JOB_STATES, LISTED, Service, Wanted

blueprint = Blueprint("console_jobs", __name__, url_prefix="/console/jobs", template_folder="templates")

#: Jobs on a page, failed rows on one, and pages that can be asked for.
ON_PAGE = 20
FAILED_ON_PAGE = 20
MOST_PAGES = 10**6
#: A job over more than this is said to be over more.
MOST_COUNTED = 10_000
#: What each wish is called on its button, by the state that a job is in; an ended one runs again.
WISHES = {"paused": "Pause", "queued": "Resume", "canceled": "Cancel"}
RUN_AGAIN = "Run again what is missing or failed"


@blueprint.get("", endpoint="jobs")
@no_operation
def jobs() -> AlmanacResponse:
    """The list, and the form."""
    return _page(job_form_of(request.args), opened="new" in request.args)


@blueprint.post("", endpoint="submit")
@no_operation
def submit() -> Any:
    """Submit the job that the form describes; what it was refused for is shown in the form."""
    check_token(request.form.get(TOKEN_FIELD))
    form = job_form_of(request.form)
    body = form.body()
    if form.errors:
        return _page(form, status=422, opened=True)
    # A form that is sent twice, by a second click, is one job.
    answered = send("POST", "jobs", body, Idempotency_Key=_key())
    if answered.status != 201:
        form.note(*issues_of(answered))
        return _page(form, status=answered.status, opened=True)
    flash("The job is submitted.")
    return redirect(f"/console/jobs/{answered.json['_id']}", 303)


@blueprint.get("/count", endpoint="count")
@no_operation
def count() -> AlmanacResponse:
    """How many inputs a filter matches, for the form while it is filled in: `{"text": ..., "wrong": ...}`."""
    text, wrong = _counted(job_form_of(request.args))
    headers = {"Cache-Control": "no-store"}
    return AlmanacResponse(dumps({"text": text, "wrong": wrong}), headers=headers, mimetype="application/json")


@blueprint.get("/<ObjectId:job_id>", endpoint="job")
@no_operation
def job(job_id: ObjectId) -> AlmanacResponse:
    """One job."""
    return _job_page(job_id)


@blueprint.post("/<ObjectId:job_id>", endpoint="steer")
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
        return _job_page(job_id, reasons, answered.status)
    flash("The priority is changed." if "priority" in changes else f"The job is {answered.json['status']}.")
    return redirect(f"/console/jobs/{job_id}", 303)


def progress_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """How far a job is, for people: rows, percent, rows a second, time left. Every number may be missing."""
    progress = job.get("progress") or {}
    done, total, rate = progress.get("done") or 0, progress.get("total"), progress.get("rows_per_second")
    running = job.get("status") == "running"
    left = (total - done) / rate if running and total is not None and rate and total >= done else None
    return {
        "done": done,
        "total": total,
        "failed": progress.get("failed") or 0,
        "rate": f"{rate:,.0f}" if running and rate else None,
        "left": span(left) if left is not None and not job.get("follow") else None,
        "percent": 100 * done // total if total else 100 if total == 0 and job.get("status") == "succeeded" else None,
    }


def span(seconds: float) -> str:
    """A length of time: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _page(form: JobForm, status: int = 200, *, opened: bool = False) -> AlmanacResponse:
    state = request.args.get("status", "")
    page = _number(request.args.get("page"), MOST_PAGES)
    # An owner's are in order of time by an index, everyone's by their ids, which begin with it.
    newest = "-_id" if current_caller().is_admin else "-_created"
    where = {"status": state} if state in JOB_STATES else {}
    shown = dict.fromkeys(("model", "version", "status", "progress", "priority", "follow", "owner"), 1)
    listed = get("jobs", where=where, sort=newest, page=str(page), max_results=ON_PAGE, projection=shown).json
    may_submit = may("jobs|resource", "POST")
    counted = _counted(form) if may_submit and (opened or "count" in request.args) and not form.errors else ("", "")
    return layout.page(
        "jobs.html",
        status,
        jobs=[{**one, "shown": progress_of(one)} for one in listed.get("_items", [])],
        page=page,
        more="next" in listed.get("_links", {}),
        state=state,
        states=JOB_STATES,
        ended=JOB_ENDED,
        form=form,
        counted=counted,
        opened=opened or bool(form.errors),
        may_submit=may_submit,
        targets=_targets(form.get("target")) if may_submit else [],
        sources={name: words for name, (words, _) in SOURCES.items()},
        key=secrets.token_urlsafe(16),
        time_tag=time_tag,
    )


def _job_page(job_id: ObjectId, message: str = "", status: int = 200) -> AlmanacResponse:
    found = document("jobs", job_id)
    if found is None:
        raise NotFound
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
        filter=dumps(found.get("where", {}), pretty=True).decode().strip(),
        message=message,
        ended=found.get("status") in JOB_ENDED,
        wishes=_wishes(),
        allowed=JOB_CHANGES.get(found.get("status", ""), ()),
        may_steer=may("jobs|item_lookup", "PATCH"),
        failed=failed[:FAILED_ON_PAGE],
        further=failed[FAILED_ON_PAGE - 1]["_id"] if len(failed) > FAILED_ON_PAGE else None,
        after=after,
        time_tag=time_tag,
        moment=moment,
        listed=LISTED,
    )


def moment(value: Any) -> Any:
    """A time as it is stored, for pages; nothing where it is none."""
    return time_tag(dumps(value).decode().strip().strip('"')) if isinstance(value, datetime) else ""


def _wishes() -> list[dict[str, Any]]:
    """A button for each thing that may be done, with the states from which it may."""
    found = []
    for wish, words in WISHES.items():
        begun = [state for state, wishes in JOB_CHANGES.items() if wish in wishes and state not in JOB_ENDED]
        found.append({"wish": wish, "words": words, "states": begun})
    again = [state for state in JOB_ENDED if "queued" in JOB_CHANGES[state]]
    return [*found, {"wish": "queued", "words": RUN_AGAIN, "states": again}]


def _targets(chosen: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """What a job may be for, by model: what its name means, its aliases, its versions; and what was chosen before."""
    found: dict[str, list[tuple[str, str]]] = {}
    for one in versions(state="available"):
        name, number = one["name"], one["version"]
        choices = found.setdefault(name, [(name, f"{name}: stable, or else the newest version")])
        choices += [(f"{name}@{alias}", f"{name}: alias {alias} (now {number})") for alias in one.get("aliases") or ()]
        choices.append((f"{name}:{number}", f"{name}: version {number}"))
    if chosen and not any(chosen == value for choices in found.values() for value, _ in choices):
        found.setdefault("", []).append((chosen, chosen))
    return sorted(found.items())


def _counted(form: JobForm) -> tuple[str, str]:
    """What a filter matches, in words, and what is wrong with it."""
    ids = form.ids()
    where = form.checked_where()
    if where is None:
        return "", "; ".join(form.errors.values())
    if ids:
        return f"{len(ids):,} listed", ""
    found = _service().jobs.matching(where, current_caller().scope("inputs"), MOST_COUNTED)
    if found is None:
        return "Counting takes longer than a moment; the job itself will count.", ""
    if found > MOST_COUNTED:
        return f"More than {MOST_COUNTED:,} inputs match.", ""
    return f"{found:,} input{'' if found == 1 else 's'} match{'es' if found == 1 else ''}.", ""


def _key() -> str:
    key = request.form.get("key", "")
    return key if key.isascii() and key.isprintable() and 0 < len(key) <= 64 else secrets.token_urlsafe(16)


def _number(text: str | None, most: int) -> int:
    return min(max(int(text), 1), most) if text and text.isascii() and text.isdigit() and len(text) < 10 else 1


def _service() -> Service:
    service: Service = current_app.extensions["service"]
    return service
