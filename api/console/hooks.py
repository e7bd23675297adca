"""Answers become pages where a browser asked: after the view made them, whatever view it was."""

from __future__ import annotations

from urllib.parse import quote

from flask import Flask, Response, redirect, request

from api.console import (
    browse,
    job_page,
    jobs_page,
    log_in,
    model_page,
    models_page,
    overview,
    result_page,
    results_page,
    static_files,
    truth_page,
    try_page,
)
from api.console.error_page import error_page
from api.console.inner import EVENT_STREAM, Answered, Sent
from api.console.negotiation import API, CONSOLE, HTML, JSON, wants_page
from api.console.operations import newest, resource_at
from api.console.pages import show
from api.doors import PART
from api.requests import AlmanacRequest

#: The pages, each with routes of its own.
PAGES = (
    overview,
    models_page,
    model_page,
    truth_page,
    try_page,
    jobs_page,
    job_page,
    results_page,
    result_page,
    log_in,
    browse,
    static_files,
)
#: Headers that tell about the JSON, and those that a page is to have too.
CONDITIONS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_PREFER")
CARRIED = ("Retry-After", "Allow")


def register(app: Flask) -> None:
    """Put pages around an application. To be called after everything that makes or changes answers."""
    for routes in PAGES:
        app.register_blueprint(routes.blueprint)
    app.before_request(_before_page)
    app.after_request(_as_page)


def _before_page() -> None:
    """A page is made anew each time: what it is made of must be there. A list begins with what is new."""
    environ = request.environ
    if HTML not in environ.get("HTTP_ACCEPT", "") or not wants_page(environ):
        return
    for name in CONDITIONS:
        environ.pop(name, None)
    resource = resource_at(request.path)
    if resource is None or request.query_string or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return
    # Programs that ask for no order get the oldest first; people who open a list mean its other end.
    if request.path == f"{API}/{resource.name}":
        asked: AlmanacRequest = request._get_current_object()  # type: ignore[attr-defined]
        asked.ask(newest(resource).partition("?")[2])


def _as_page(response: Response) -> Response:
    environ = request.environ
    if HTML not in environ.get("HTTP_ACCEPT", "") or PART in environ or not wants_page(environ):
        return response
    kind = response.mimetype
    if kind == HTML:
        return response
    if response.status_code == 401:
        return _to_log_in()
    if kind == EVENT_STREAM:
        response.close()  # a page does not wait for its end
        answered = Answered(response.status_code, list(response.headers), kind, b"")
    elif kind == JSON and not 300 <= response.status_code < 400:
        answered = Answered(response.status_code, list(response.headers), kind, response.get_data())
    else:
        return response
    reading = environ["REQUEST_METHOD"] in ("GET", "HEAD")
    path = request.path if reading else request.path.removeprefix("/browse")
    if path == "/" or path.startswith(CONSOLE):
        page = error_page(answered)
    else:
        page = show(Sent("GET", path, request.query_string.decode("latin-1") if reading else ""), answered)
    for name in CARRIED:
        if name in response.headers:
            page.headers[name] = response.headers[name]
    return page


def _to_log_in() -> Response:
    """To the form, and from there to where the browser wanted to go."""
    path = request.path.removeprefix("/browse")
    if request.method in ("GET", "HEAD") and request.query_string:
        path += "?" + request.query_string.decode("latin-1")
    return redirect(f"/login?next={quote(path, safe='/')}", 303)  # type: ignore[return-value]
