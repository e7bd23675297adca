"""`/console/jobs`: what there is and how far it is, and the form that submits one more."""

from __future__ import annotations

import secrets
from typing import Any

from flask import Blueprint, current_app, flash, redirect, request

from api.auth.browsers import TOKEN_FIELD, check_token
from api.auth.caller import current_caller
from api.console import layout
from api.console.job_form import SOURCES, JobForm, job_form_of, local
from api.console.progress import progress_of
from api.console.reading import issues_of, listed, may, number, send, versions
from api.openapi.describe import no_operation
from api.responses import AlmanacResponse, json_answer
from ml.service import JOB_ENDED, JOB_STATES, Service

blueprint = Blueprint("jobs_page", __name__, url_prefix="/console", template_folder="templates")

#: Jobs on a page, and pages that can be asked for.
ON_PAGE = 20
MOST_PAGES = 10**6
#: A job over more than this is said to be over more.
MOST_COUNTED = 10_000


@blueprint.get("/jobs")
@no_operation
def page() -> AlmanacResponse:
    """The list, and the form."""
    return _page(job_form_of(request.args), opened="new" in request.args)


@blueprint.post("/jobs")
@no_operation
def submit() -> Any:
    """Submit the job that the form describes, or count what it is over; what is wrong with it is said in the form."""
    check_token(request.form.get(TOKEN_FIELD))
    form = job_form_of(request.form)
    if "count" in request.form:
        return _page(form, opened=True)
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


@blueprint.get("/matching")
@no_operation
def count() -> AlmanacResponse:
    """How many inputs a filter matches, for the form while it is filled in: `{"text": ..., "wrong": ...}`."""
    text, wrong = _counted(job_form_of(request.args))
    headers = {"Cache-Control": "no-store"}
    return json_answer({"text": text, "wrong": wrong}, headers=headers)


def _page(form: JobForm, status: int = 200, *, opened: bool = False) -> AlmanacResponse:
    state = request.args.get("status", "")
    page = number(request.args.get("page"), MOST_PAGES)
    where = {"status": state} if state in JOB_STATES else {}
    shown = dict.fromkeys(("model", "version", "status", "progress", "priority", "follow", "owner"), 1)
    found = listed("jobs", where=where, sort="-_created", page=str(page), max_results=ON_PAGE, projection=shown)
    may_submit = may("jobs|resource", "POST")
    counted = _counted(form) if may_submit and opened and not form.errors else ("", "")
    return layout.page(
        "jobs.html",
        status,
        jobs=[{**one, "shown": progress_of(one)} for one in found["_items"]],
        page=page,
        more="next" in found["_links"],
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
        local=local,
    )


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
    if found.of is not None:
        return f"Of {found.of:,} inputs that were looked at {found.count:,} match; the job itself will count all.", ""
    if found.count > MOST_COUNTED:
        return f"More than {MOST_COUNTED:,} inputs match.", ""
    return f"{found.count:,} input{' matches' if found.count == 1 else 's match'}.", ""


def _key() -> str:
    key = request.form.get("key", "")
    return key if key.isascii() and key.isprintable() and 0 < len(key) <= 64 else secrets.token_urlsafe(16)


def _service() -> Service:
    service: Service = current_app.extensions["service"]
    return service
