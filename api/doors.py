"""Who is let in: every request but health needs a place, and a prediction that would find none is told so at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request

from api.errors import from_service
from api.requests import log_answer, request_id
from ml.errors import Overloaded
from ml.service import Admission, count_request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Threads that only health may use. A database that hangs would otherwise hold them all, one list each.
FOR_HEALTH = 4


def guard(app: Flask, threads: int, predictions: Admission) -> None:
    """Refuse what would take the last threads. Registered before everything that may wait for the database."""
    places = Admission(threads - FOR_HEALTH, "requests")

    def enter() -> None:
        if not request.environ["PATH_INFO"].startswith("/health/"):
            places.take()
            g.inside = True

    def stay(response: Response) -> Response:
        # A streamed answer has its thread until the stream ends, which is long after the request was torn down.
        if response.is_streamed and g.pop("inside", False):
            response.response = _Stream(response.response, places.give)
        return response

    def leave(_: BaseException | None) -> None:
        if g.pop("inside", False):
            places.give()

    app.before_request(enter)
    app.after_request(stay)
    app.teardown_request(leave)
    _refuse_early(app, predictions)


class _Stream:
    """The parts of an answer; `ended` is called once, when there are no more or nobody wants them."""

    def __init__(self, parts: Iterable[Any], ended: Callable[[], None]) -> None:
        self._parts = parts
        self._next = iter(parts)
        self._ended: Callable[[], None] | None = ended

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._next)
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        try:
            if hasattr(self._parts, "close"):
                self._parts.close()
        finally:
            self._end()

    def _end(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()


def _refuse_early(app: Flask, predictions: Admission) -> None:
    """Let a prediction that finds no place be answered before Flask makes a request of it.

    Under overload most are such: what each costs is taken from those that were let in. The route takes the place
    itself; this only saves it the work where there is none.
    """
    inside = app.wsgi_app

    def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if (
            environ["PATH_INFO"].endswith("/predict")
            and environ["REQUEST_METHOD"] == "POST"
            and (refusal := predictions.refusal()) is not None
        ):
            return _refuse(refusal, environ, start_response)
        return inside(environ, start_response)

    app.wsgi_app = wsgi_app  # type: ignore[method-assign]


def _refuse(refusal: Overloaded, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    began, id_ = time.monotonic(), request_id(environ)
    error = from_service(refusal)
    body = error.body()
    headers = {
        **error.headers,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "X-Request-ID": id_,
    }
    start_response("503 Service Unavailable", list(headers.items()))
    count_request(("", ""), error.code)
    log_answer(environ, id_, error.code, began)
    return [body]
