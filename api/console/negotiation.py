"""Whether an answer is to be a page: asked by what a browser says that it takes, for paths that people look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

HTML = "text/html"
JSON = "application/json"
API = "/api/v1"
#: What programs ask, or what has pages of its own.
NEVER = ("/v1/", "/v2/", "/health/", "/metrics", "/openapi.json", "/docs", "/static/")
#: Pages that are no URL of the API.
CONSOLE = "/console/"
#: What forms are sent to.
FORMS = ("/browse/", CONSOLE, "/login", "/logout")


def wants_page(environ: WSGIEnvironment) -> bool:
    """Whether this GET, or form, is to be answered by a page: HTML is preferred to JSON, which `*/*` does not say."""
    accept = environ.get("HTTP_ACCEPT", "")
    path = environ["PATH_INFO"]
    if HTML not in accept or path.startswith(NEVER):
        return False
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD") and not path.startswith(FORMS):
        return False
    return parse_accept_header(accept, MIMEAccept).best_match([JSON, HTML]) == HTML
