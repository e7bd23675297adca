"""Deny by default: every request is authenticated and permitted, but for the endpoints on one public list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, current_app, g, request

from api.auth.browsers import Browsers
from api.auth.credentials import Authenticator
from api.auth.permissions import permit
from api.errors import ApiError
from ml.errors import ServiceError
from ml.identity.caller import Caller

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Endpoints that answer without a key.
PUBLIC = frozenset(
    {
        "health.live",
        "health.ready",
        "openapi.document",
        "docs.page",
        "docs.page_with_slash",
        "docs.file",
        "static_files.file",
        "log_in.log_in",
    }
)

#: Where a WSGI environment has why its caller was refused.
REFUSED = "almanac.refused"
#: Where one has its caller, who was asked for already: a form is answered by a request of our own.
CALLER = "almanac.caller"


def protect(app: Flask, authenticator: Authenticator, also: frozenset[str] = frozenset()) -> None:
    """Make `app` refuse every request without a valid key, whatever it is for, unless its endpoint is public.

    Then also what the caller's role may not do, or what nobody may. `also` are endpoints that are public by a setting.
    """
    public = app.extensions["public"] = PUBLIC | also

    def authenticate() -> None:
        asked = request._get_current_object()  # type: ignore[attr-defined]
        endpoint = asked.endpoint
        if endpoint in public:
            g.caller = None
            return
        caller = g.caller = _caller(app, asked.environ, authenticator)
        if endpoint is not None:  # else there is nothing at this URL, or not with this method
            permit(caller, endpoint, asked.environ["REQUEST_METHOD"], asked.view_args)

    app.extensions["authenticator"] = authenticator
    app.before_request(authenticate)


def caller_of(environ: WSGIEnvironment, authenticator: Authenticator) -> Caller:
    """Who asks. Raises a 401, or why it cannot be told; a request is refused once, however often this is asked."""
    refused: ApiError | ServiceError | None = environ.get(REFUSED)
    if refused is not None:
        raise refused
    try:
        return authenticator.authenticate(environ)
    except (ApiError, ServiceError) as error:
        environ[REFUSED] = error
        raise


def need_key() -> None:
    """Refuse this request without a valid key, though its endpoint is public."""
    g.caller = _caller(current_app, request.environ, current_app.extensions["authenticator"])


def _caller(app: Flask, environ: WSGIEnvironment, authenticator: Authenticator) -> Caller:
    """Who asks, by a header or by a browser's session. Raises as `caller_of`, and a 403 for another site's form."""
    given: Caller | None = environ.get(CALLER)
    browsers: Browsers | None = app.extensions.get("browsers")
    if given is None and browsers is not None:
        given = browsers.caller(environ)
    return given or caller_of(environ, authenticator)
