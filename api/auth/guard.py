"""Deny by default: every request is authenticated, but for the endpoints on one public list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, current_app, g, request

from api.auth.caller import Caller
from api.auth.keys import Authenticator
from api.errors import ApiError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Endpoints that answer without a key.
PUBLIC = frozenset(
    {"health.live", "health.ready", "openapi.document", "docs.page", "docs.page_with_slash", "docs.file"}
)

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="almanac"'}


def protect(app: Flask, authenticator: Authenticator, also: frozenset[str] = frozenset()) -> None:
    """Make `app` refuse every request without a valid key, whatever it is for, unless its endpoint is public.

    `also` are endpoints that are public by a setting.
    """
    public = app.extensions["public"] = PUBLIC | also

    def authenticate() -> None:
        asked = request._get_current_object()  # type: ignore[attr-defined]
        g.caller = None if asked.endpoint in public else caller_of(asked.environ, authenticator)

    app.extensions["authenticator"] = authenticator
    app.before_request(authenticate)


def caller_of(environ: WSGIEnvironment, authenticator: Authenticator) -> Caller:
    """Who asks. Raises a 401."""
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise ApiError(401, "a key is needed: Authorization: Bearer <key>", headers=CHALLENGE)
    caller = authenticator.authenticate(token)
    if caller is None:
        raise ApiError(401, "the key is not valid", headers=CHALLENGE)
    return caller


def need_key() -> None:
    """Refuse this request without a valid key, though its endpoint is public."""
    g.caller = caller_of(request.environ, current_app.extensions["authenticator"])
