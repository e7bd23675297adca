"""Deny by default: every request is authenticated, but for the endpoints on one public list."""

from __future__ import annotations

from flask import Flask, g, request

from api.auth.keys import Authenticator
from api.errors import ApiError

#: Endpoints that answer without a key.
PUBLIC = frozenset({"health.live", "health.ready", "docs.page", "docs.page_with_slash", "docs.file"})

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="almanac"'}


def protect(app: Flask, authenticator: Authenticator, also: frozenset[str] = frozenset()) -> None:
    """Make `app` refuse every request without a valid key, whatever it is for, unless its endpoint is public.

    `also` are endpoints that are public by a setting.
    """
    public = PUBLIC | also

    def authenticate() -> None:
        asked = request._get_current_object()  # type: ignore[attr-defined]
        if asked.endpoint in public:
            g.caller = None
            return
        scheme, _, token = asked.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ApiError(401, "a key is needed: Authorization: Bearer <key>", headers=CHALLENGE)
        caller = g.caller = authenticator.authenticate(token.strip())
        if caller is None:
            raise ApiError(401, "the key is not valid", headers=CHALLENGE)

    app.before_request(authenticate)
