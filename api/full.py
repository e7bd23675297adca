"""The answer to predictions for which there is no place: the more of them come, the less each may cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from werkzeug.http import HTTP_STATUS_CODES

from api.access_log import log_answer
from api.errors import Speaker, from_service, said
from api.render import MIME
from api.requests import request_id
from ml.errors import Overloaded
from ml.service import count_request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Paths whose answer is remembered; most have a few.
MOST_PATHS = 256


class _Made(NamedTuple):
    """An answer but for the request's id."""

    refusal: Overloaded
    code: int
    status: str
    headers: list[tuple[str, str]]
    body: list[bytes]


class Full:
    """Answers with a refusal. What it says at a path is made once."""

    def __init__(self, dialects: Sequence[Speaker]) -> None:
        self._dialects = dialects
        self._made: dict[str, _Made] = {}

    def answer(self, refusal: Overloaded, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        """Refuse a request. The refusal is the very same for as long as it says the same."""
        began = time.monotonic()
        path = environ["PATH_INFO"]
        made = self._made.get(path)
        if made is None or made.refusal is not refusal:
            made = self._make(refusal, path)
            if len(self._made) < MOST_PATHS:
                self._made[path] = made
        id_ = request_id(environ)
        start_response(made.status, [*made.headers, ("X-Request-ID", id_)])
        count_request(("", ""), made.code)
        log_answer(environ, id_, made.code, began)
        return made.body

    def _make(self, refusal: Overloaded, path: str) -> _Made:
        code, body, more = said(from_service(refusal, "-"), path, self._dialects)
        headers = {**more, "Content-Type": MIME, "Content-Length": str(len(body))}
        return _Made(refusal, code, f"{code} {HTTP_STATUS_CODES[code].upper()}", list(headers.items()), [body])
