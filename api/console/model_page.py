"""`/console/models/<name>`: the versions of a model, its aliases, and how one version was built."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, flash, redirect, request
from werkzeug.exceptions import NotFound

from api.auth.browsers import TOKEN_FIELD, check_token
from api.auth.caller import current_caller
from api.console import layout
from api.console.advice import advice_for
from api.console.build_table import build_table
from api.console.inner import Answered, Sent, ask
from api.console.negotiation import API
from api.console.versions import listed, may_change, may_predict, may_register, whole
from api.errors import ApiError
from api.openapi.describe import no_operation
from ml.database.documents import is_etag

blueprint = Blueprint("model_page", __name__, url_prefix="/console/models/<name>", template_folder="templates")

#: Versions of a name on its page; older ones are behind a link.
MOST = 50
#: What the form of a version may ask for.
ADD, REMOVE, RETIRE = "add", "remove", "retire"


@blueprint.get("")
@no_operation
def page(name: str) -> Any:
    """All versions, and one in full: that of `?version=`, else the newest that is not retired."""
    caller = current_caller()
    number = _number("page", 1)
    found = listed({"name": name}, number, MOST)
    if not found.items:
        raise NotFound if number > 1 else ApiError(404, f"there is no model {name[:100]!r}")
    newest = next((one for one in found.items if one["state"] != "retired"), found.items[0])
    version = _number("version", newest["version"])
    shown = whole(name, version)
    if shown is None:
        raise ApiError(404, f"{name} has no version {version}")
    aliases = sorted({alias for one in found.items for alias in one.get("aliases", ())})
    available = any(one["state"] == "available" for one in found.items)
    return layout.page(
        "model.html",
        name=name,
        versions=found.items,
        paging={"page": number, "more": found.more},
        shown=shown,
        build=build_table(shown),
        aliases=aliases,
        may_change=may_change(caller, shown),
        may_register=may_register(caller),
        may_predict=available and may_predict(caller, name),
    )


@blueprint.get("/versions/<int:version>")
@no_operation
def one(name: str, version: int) -> Any:
    """To the version on its model's page."""
    return redirect(f"/console/models/{name}?version={version}", 303)


@blueprint.post("/versions/<int:version>")
@no_operation
def change(name: str, version: int) -> Any:
    """Give an alias to a version, take one away, or retire it: what a button of the page asks for."""
    check_token(request.form.get(TOKEN_FIELD))
    there = whole(name, version)
    if there is None:
        raise ApiError(404, f"{name} has no version {version}")
    wish, alias = request.form.get("do"), request.form.get("alias", "").strip()
    path, tag = f"{API}/models/{there['_id']}", {"If-Match": _tag()}
    before = list(there.get("aliases", ()))
    if wish == RETIRE:
        answered = ask(Sent("DELETE", path, headers=tag))
        done = f"{name}:{version} is retired."
    elif wish in (ADD, REMOVE) and alias:
        after = [one for one in before if one != alias] + ([alias] if wish == ADD else [])
        answered = ask(Sent("PATCH", path, body=json.dumps({"aliases": after}).encode(), headers=tag))
        done = (
            f"{alias} is {name}:{version} now." if wish == ADD else f"{alias} is no alias of {name}:{version} any more."
        )
    else:
        flash("Say which alias: its name was empty.", "error")
        return _back(name, version)
    if answered.status < 400:
        flash(done)
    else:
        flash(_why(answered), "error")
    return _back(name, version)


def _why(answered: Answered) -> str:
    """What a refusal says, with what can be done about it."""
    body = answered.json
    message = body.get("_error", {}).get("message", "It was refused")
    issues = "; ".join(f"{place}: {reason}" for place, reason in body.get("_issues", {}).items())
    if answered.status == 412:
        return "Somebody changed this version meanwhile, so nothing was done. Look at it as it is now, and click again."
    said = f"{message[:1].upper()}{message[1:]}{f' ({issues})' if issues else ''}."
    return f"{said} {advice_for(answered.status)}".strip()


def _tag() -> str:
    """The entity tag that the form was made for."""
    given = request.form.get("_etag", "")
    return f'"{given}"' if is_etag(given) else '"none"'


def _back(name: str, version: int) -> Any:
    return redirect(f"/console/models/{name}?version={version}#versions", 303)


def _number(name: str, otherwise: int) -> int:
    given = request.args.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and 0 < len(given) < 10 else otherwise
