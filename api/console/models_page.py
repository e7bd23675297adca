"""`/console/models`: the names of models, and the form that uploads a new version of one."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from flask import Blueprint, current_app, flash, redirect, request
from werkzeug.datastructures import MultiDict

from api.auth.browsers import TOKEN_FIELD, check_token
from api.auth.caller import current_caller
from api.console import layout
from api.console.advice import advice_for
from api.console.inner import Answered, Sent, ask
from api.console.negotiation import API
from api.console.versions import listed, may_predict, may_register
from api.openapi.describe import no_operation
from api.responses import AlmanacResponse

blueprint = Blueprint("models_page", __name__, url_prefix="/console", template_folder="templates")

FIELDS = ("name", "classes", "aliases", "description")
FILES = ("file", "sample")


@blueprint.get("/models")
@no_operation
def names() -> Any:
    """The names, each with its versions in short. `?name=` begins the form of another version."""
    return _page({"name": request.args.get("name", "")})


@blueprint.post("/models")
@no_operation
def upload() -> Any:
    """Register the file of the form; what is wrong with it is said at the form, which keeps what was typed."""
    request.max_content_length = current_app.config["MAX_MODEL_BYTES"]
    check_token(request.form.get(TOKEN_FIELD))
    fields: MultiDict[str, str] = MultiDict()
    files: MultiDict[str, Any] = MultiDict()
    for name in FIELDS:
        if request.form.get(name, "").strip():
            fields.add(name, request.form[name].strip())
    for name in FILES:
        file = request.files.get(name)
        if file is not None and file.filename:
            files.add(name, file)
    answered = ask(Sent("POST", f"{API}/models", form=(fields, files)))
    if answered.status != 201:
        return _page(dict(fields), answered)
    made = answered.json
    flash(f"{made['name']}:{made['version']} is uploaded. It is built now, and proven equal to Keras.")
    return redirect(f"/console/models/{made['name']}?version={made['version']}", 303)


def _page(typed: dict[str, Any], refused: Answered | None = None) -> AlmanacResponse:
    caller = current_caller()
    number = request.args.get("page", "1")
    page = int(number) if number.isascii() and number.isdigit() and 0 < int(number) < 10_000 else 1
    found = listed({"state": {"$ne": "retired"}}, page)
    grouped = [(name, list(each)) for name, each in groupby(found.items, key=lambda item: item["name"])]
    problem: dict[str, Any] = {}
    if refused is not None:
        body = refused.json
        problem = {
            "message": body.get("_error", {}).get("message", "It was refused"),
            "issues": body.get("_issues", {}),
            "advice": advice_for(refused.status),
        }
    return layout.page(
        "models.html",
        refused.status if refused is not None else 200,
        names=grouped,
        paging={"page": page, "more": found.more},
        typed=typed,
        problem=problem,
        may_register=may_register(caller),
        may_predict=may_predict(caller),
        most_mb=current_app.config["MAX_MODEL_BYTES"] // 2**20,
    )
