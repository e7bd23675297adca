"""Logging in and out in a browser: with a name and a password, with a key, or by a link that serves prints once."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, current_app, g, redirect, request, session

from api.auth.browsers import NAME, NOT_HERE, TOKEN_FIELD, browsers, check_token
from api.auth.credentials import CHALLENGE, SHOWN, Authenticator
from api.console import layout
from api.errors import ApiError, from_service
from api.openapi.describe import no_operation
from ml.errors import ServiceError
from ml.identity.caller import ADMIN, Caller
from ml.identity.sessions import Proof

blueprint = Blueprint("log_in", __name__, template_folder="templates")

#: A path of this server: what else a browser could take for another's is none.
OWN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]{0,2000}\Z")
START = "/"


@blueprint.route("/login", methods=["GET", "POST"])
@no_operation
def log_in() -> Any:
    """The form, what it is sent to, and what a link that logs in leads to."""
    return _by_form() if request.method == "POST" else _by_link()


def _by_link() -> Any:
    """The form; with the token of a link, who opens it is the administrator."""
    link = request.args.get("token")
    if link is None or request.method == "HEAD":
        return _page()
    if not current_app.secret_key:
        return _page(403, NOT_HERE)
    if not browsers().sessions.redeem_link(link):
        return _page(403, "This link was used already, or is older than ten minutes. Start Almanac again for another.")
    browsers().begin(browsers().sessions.proof_of_admin(), replace(ADMIN, via="link"))
    return redirect(_next(), 303)


def _by_form() -> Any:
    """Log in with what the form has; failures are counted as those of programs are."""
    try:
        check_token(request.form.get(TOKEN_FIELD))
        proof, caller = _proof()
    except ServiceError as error:
        return _page_of(from_service(error))
    except ApiError as error:
        return _page_of(error)
    browsers().begin(proof, caller)
    return redirect(_next(), 303)


@blueprint.post("/logout")
@no_operation
def log_out() -> Any:
    """End this session, everywhere."""
    if session.get(NAME) is not None:
        check_token(request.form.get(TOKEN_FIELD))
    browsers().end()
    return redirect("/login", 303)


def _proof() -> tuple[Proof, Caller]:
    """What a session of who sent the form is to hang on, and who that is.

    Raises as the authenticator, and a 401 for an empty form.
    """
    authenticator: Authenticator = current_app.extensions["authenticator"]
    sessions = browsers().sessions
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    key = request.form.get("key", "").strip()
    environ = {"REMOTE_ADDR": request.environ.get("REMOTE_ADDR", "")}
    found: Proof | None = None
    caller: Caller | None = None
    if key:
        request.environ[SHOWN] = "key", None
        caller = authenticator.authenticate({**environ, "HTTP_AUTHORIZATION": f"Bearer {key}"})
        found = sessions.proof_of_key(key, caller)
    elif name and password:
        request.environ[SHOWN] = "password", name
        found = sessions.proof_of_user(name)
        both = base64.b64encode(f"{name}:{password}".encode("utf-8", "surrogatepass")).decode()
        caller = authenticator.authenticate({**environ, "HTTP_AUTHORIZATION": f"Basic {both}"})
        if found is None or caller.proof != str(found.id):
            found = None  # another user by now
    if found is None or caller is None:
        raise ApiError(401, "a name and a password are needed, or a key", headers=CHALLENGE)
    return found, caller


def _page_of(error: ApiError) -> Response:
    answer = _page(error.code, f"{error.message[:1].upper()}{error.message[1:]}.")
    answer.headers.update(error.headers)
    return answer


def _page(status: int = 200, message: str = "") -> Response:
    if not message and not current_app.secret_key:
        message = NOT_HERE
    logged_in = None
    if status == 200 and isinstance(session.get(NAME), str):
        logged_in = browsers().sessions.caller_of(session[NAME])
    g.caller = logged_in
    return layout.page(
        "log_in.html", status, message=message, next=_next(), name=request.form.get("name", ""), with_key=_with_key()
    )


def _with_key() -> bool:
    return bool(request.form.get("key"))


def _next() -> str:
    """Where the browser wanted to go: a path of this server, whatever is asked for."""
    wanted = request.values.get("next", "")
    return wanted if OWN_PATH.match(wanted) and not wanted.startswith(("/login", "/logout")) else START
