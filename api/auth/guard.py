"""Deny by default: every request is authenticated, but for the endpoints on one public list."""

from __future__ import annotations

from flask import Flask, Request, current_app, g, request

from api.auth.caller import Caller
from api.auth.keys import Authenticator
from api.errors import ApiError

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

    def caller_of(asked: Request) -> Caller:
        scheme, _, token = asked.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ApiError(401, "a key is needed: Authorization: Bearer <key>", headers=CHALLENGE)
        caller = authenticator.authenticate(token.strip())
        if caller is None:
            raise ApiError(401, "the key is not valid", headers=CHALLENGE)
        return caller

    def authenticate() -> None:
        asked = request._get_current_object()  # type: ignore[attr-defined]
        g.caller = None if asked.endpoint in public else caller_of(asked)

    app.extensions["caller_of"] = caller_of
    app.before_request(authenticate)


def need_key() -> None:
    """Refuse this request without a valid key, though its endpoint is public."""
    asked = request._get_current_object()  # type: ignore[attr-defined]
    g.caller = current_app.extensions["caller_of"](asked)
