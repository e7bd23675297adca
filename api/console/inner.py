"""A request of our own in a caller's name, through the application as a program's would go: what a form asks for.

Everything that a program's request meets is met: permissions, validation, idempotency, the log. It shares the place and
the count of the request that it is a part of, whose caller it has.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, current_app, g, request
from werkzeug.datastructures import MultiDict

from api.auth.caller import current_caller
from api.auth.guard import CALLER
from api.doors import PART
from api.edge import MORE_HEADERS
from api.requests import PARSED

EVENT_STREAM = "text/event-stream"
#: What of the browser's request holds for this one.
KEPT = ("REMOTE_ADDR", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "HTTP_HOST", "wsgi.url_scheme",
        "wsgi.errors", "wsgi.version", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once", "SCRIPT_NAME",
        MORE_HEADERS)  # fmt: skip


@dataclass(slots=True)
class Sent:
    """What is asked, as a program would: `body` is JSON, or the fields and files of a form; None: no body."""

    method: str
    path: str
    query: str = ""
    body: bytes | None = None
    form: tuple[MultiDict[str, str], MultiDict[str, Any]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str | None:
        """The type of the body."""
        return "multipart/form-data" if self.form is not None else "application/json" if self.body is not None else None


@dataclass(slots=True)
class Answered:
    """How it was answered."""

    status: int
    headers: list[tuple[str, str]]
    mimetype: str
    data: bytes

    @property
    def json(self) -> Any:
        """What the answer says; an empty object where it is no JSON."""
        return json.loads(self.data) if self.mimetype == "application/json" and self.data else {}

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def ask(sent: Sent) -> Answered:
    """Send a request through the application in the name of the present caller."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    environ = _environ(sent)
    # What the present request keeps for itself (g) is not this one's.
    with app.app_context(), app.request_context(environ):
        response: Response = app.full_dispatch_request()
        # Only events never end. Other bodies may come in pieces too, as Eve's refusals do.
        endless = response.mimetype == EVENT_STREAM
        data = b"" if endless else response.get_data()
        if response.is_streamed:
            response.close()
        return Answered(response.status_code, list(response.headers), response.mimetype or "", data)


def _environ(sent: Sent) -> dict[str, Any]:
    outer = request.environ
    body = sent.body or b""
    environ: dict[str, Any] = {
        **{name: outer[name] for name in KEPT if name in outer},
        "REQUEST_METHOD": sent.method,
        "PATH_INFO": sent.path,
        "RAW_URI": quote(sent.path),
        "QUERY_STRING": sent.query,
        "HTTP_ACCEPT": "application/json",
        "HTTP_X_REQUEST_ID": g.request_id,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        CALLER: current_caller(),
        PART: True,
    }
    if sent.kind is not None:
        environ["CONTENT_TYPE"] = sent.kind
    if sent.form is not None:
        environ[PARSED] = sent.form
        del environ["CONTENT_LENGTH"]
    for name, value in sent.headers.items():
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ
