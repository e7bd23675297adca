"""Who is let in: every request but health needs a place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Flask, Response, g, request

from api.probes import HEALTH
from ml.service import Admission

#: In the environment of a request that another one makes of its own (api/console/inner.py).
PART = "almanac.inner"
#: Threads that only health may use. A database that hangs would otherwise hold them all, one list each.
FOR_HEALTH = 4


def guard(app: Flask, threads: int) -> Admission:
    """Refuse what would take the last threads. Registered before everything that may wait for the database.

    Returns the places.
    """
    places = Admission(threads - FOR_HEALTH, "requests")

    def enter() -> None:
        # A request that is part of another shares its place.
        if not request.environ["PATH_INFO"].startswith(HEALTH) and PART not in request.environ:
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
    return places


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
