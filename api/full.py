"""The answer to predictions for which there is no place: the more of them come, the less each may cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from api.access_log import log_answer
from api.errors import ErrorAnswer, Speaker, error_answer, from_service
from api.requests import request_id
from ml.errors import Overloaded
from ml.service import count_request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Paths whose answer is remembered; most have a few.
MOST_PATHS = 256


class Full:
    """Answers with a refusal. What it says at a path is made once."""

    def __init__(self, dialects: Sequence[Speaker]) -> None:
        self._dialects = dialects
        self._made: dict[str, tuple[Overloaded, ErrorAnswer]] = {}

    def answer(self, refusal: Overloaded, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        """Refuse a request. The refusal is the very same for as long as it says the same."""
        began = time.monotonic()
        path = environ["PATH_INFO"]
        made = self._made.get(path)
        if made is None or made[0] is not refusal:
            made = refusal, error_answer(from_service(refusal, "-"), path, self._dialects)
            if len(self._made) < MOST_PATHS:
                self._made[path] = made
        answer, id_ = made[1], request_id(environ)
        start_response(answer.status, [*answer.headers, ("X-Request-ID", id_)])
        count_request(("", ""), answer.code)
        log_answer(environ, id_, answer.code, began)
        return [answer.body]
