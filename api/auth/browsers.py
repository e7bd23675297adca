"""Who asks by a browser's session: a signed cookie that names a document in the database, and holds nobody's secret.

Browsers send cookies with whatever another site makes them send, so every write in a session's name, and every form,
carries a token that such a site cannot know.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app, g, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin

from api.audit import entry_for
from api.errors import ApiError
from ml.identity.caller import Caller
from ml.identity.sessions import SESSION_SECONDS, Proof, Sessions

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: What the session's cookie holds: what names the document, and what tokens are made of.
NAME = "id"
#: The header that has the token where there is no form.
TOKEN_HEADER = "X-CSRF-Token"  # noqa: S105 # nosec B105 # its name
TOKEN_FIELD = "csrf_token"  # noqa: S105 # nosec B105 # its name
#: Endpoints that are sent forms, and look at the token in them.
FORMS = frozenset(
    {
        "browse.submit",
        "log_in.log_out",
        "models_page.upload",
        "model_page.change",
        "try_page.predict",
        "jobs_page.submit",
        "job_page.steer",
        "result_page.mark",
    }
)
READS = ("GET", "HEAD", "OPTIONS")
#: Of which kind is what was proven at log-in; the administrator's key is no document.
RESOURCES = {"key": "keys", "user": "users", "admin": None}

NOT_HERE = (
    "there are no sessions here: with a database of your own, set ALMANAC_SECRET_KEY (32 characters or more, the same "
    "for every server) and start again"
)


class Cookies(SecureCookieSessionInterface):
    """Flask's signed cookies, at no cost for the requests of programs, which have none."""

    def open_session(self, app: Flask, request: Any) -> SecureCookieSession | None:
        if self.get_cookie_name(app) not in request.environ.get("HTTP_COOKIE", ""):
            return self.session_class() if app.secret_key else None
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Any) -> None:
        if session.accessed or session.modified:
            super().save_session(app, session, response)

    def get_cookie_secure(self, app: Flask) -> bool:
        # Behind a proxy that speaks TLS a form says by its origin that the browser does.
        return bool(app.config["SESSION_COOKIE_SECURE"]) or request.headers.get("Origin", "").startswith("https://")


class Browsers:
    """The sessions of browsers, as requests see them."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions

    def caller(self, environ: WSGIEnvironment) -> Caller | None:
        """Who asks by a session; None where the request has none, or says by a header who asks.

        Raises a 403 for a write without its token, or StorageUnavailable.
        """
        if "HTTP_COOKIE" not in environ or "HTTP_AUTHORIZATION" in environ:
            return None
        token = session.get(NAME)
        caller = self.sessions.caller_of(token) if isinstance(token, str) else None
        if caller is not None and environ["REQUEST_METHOD"] not in READS and request.endpoint not in FORMS:
            check_token(request.headers.get(TOKEN_HEADER))
        return caller

    def begin(self, proof: Proof, caller: Caller) -> None:
        """Log this browser in for a caller: nothing of the session that it had before stays."""
        former = session.get(NAME)
        session.clear()
        g.pop(TOKEN_FIELD, None)
        session.permanent = True
        session[NAME] = self.sessions.begin(proof, entry_for("login", RESOURCES[proof.of], 303, caller=caller))
        if isinstance(former, str):
            self.sessions.end(former)

    def end(self) -> None:
        """Log this browser out, and whoever has a copy of its cookie."""
        token = session.get(NAME)
        if session:
            session.clear()
        g.pop(TOKEN_FIELD, None)
        if isinstance(token, str):
            caller = self.sessions.caller_of(token)
            of = "admin" if caller is None or caller.proof is None else "user" if caller.via == "password" else "key"
            entry = entry_for("logout", RESOURCES[of], 303, caller=caller) if caller is not None else None
            self.sessions.end(token, entry)


def register(app: Flask, sessions: Sessions, database: str, *, tls: bool) -> Browsers:
    """Let requests of `app`, whose database has this name, be made by sessions."""
    app.session_interface = Cookies()
    app.config.update(
        SESSION_COOKIE_NAME=cookie_name(app.config["SECRET_KEY"], database, tls=tls),
        SESSION_COOKIE_SECURE=tls,
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=SESSION_SECONDS,
        # As long as the session.
        WTF_CSRF_TIME_LIMIT=None,
    )
    made = app.extensions["browsers"] = Browsers(sessions)
    return made


def cookie_name(secret: str | None, database: str, *, tls: bool) -> str:
    """What the cookie is called by every server with this secret and database.

    Cookies know no ports: of two Almanacs on one host each would log a browser out of the other, were it one name.
    """
    digest = hmac.digest((secret or "").encode(), f"cookie of {database}".encode(), "sha256").hex()
    # Under this prefix browsers take no cookie of another host, and none over HTTP in the clear.
    return f"{'__Host-' if tls else ''}almanac-{digest[:8]}"


def browsers() -> Browsers:
    """Those of the present application."""
    found: Browsers = current_app.extensions["browsers"]
    return found


def token() -> str | None:
    """The token of this session's forms; None where there can be none."""
    if not current_app.secret_key:
        return None
    from flask_wtf.csrf import generate_csrf  # late: programs never need it

    made: str = generate_csrf()
    return made


def check_token(given: str | None) -> None:
    """Raise a 403 unless this is a token of this browser's session."""
    from flask_wtf.csrf import validate_csrf
    from wtforms import ValidationError

    if not current_app.secret_key:
        raise ApiError(403, NOT_HERE)
    try:
        validate_csrf(given)
    except ValidationError:
        where = f"a form of this server, or the header {TOKEN_HEADER}"
        issue = {TOKEN_FIELD: f"expected the token of this session, by {where}, got {'another' if given else 'none'}"}
        raise ApiError(403, "this was not sent by a page of this session: open the page again", issue) from None
