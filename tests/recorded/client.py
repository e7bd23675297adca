"""The test client of every app that tests make: it records, and tests see what they would see without it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.recorded.recorder import Exchange, Recorder, media_type

RECORDER = Recorder()


class RecordedClient(FlaskClient):
    """A client whose exchanges are compared with the OpenAPI document."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        if "text/html" in response.request.headers.get("Accept", ""):
            return response  # a page, if anything
        RECORDER.use(lambda: _document(self.application))
        exchange = _exchange(response)
        if not RECORDER.head(exchange):
            return response
        if "Content-Length" in response.headers:
            RECORDER.body(exchange, response.get_data())
        else:  # it may never end, or only after what the test does next
            response.response = _Stream(exchange, response.response)
        return response


class _Stream:
    """The parts of a body as the test reads them; they are compared when there are no more."""

    def __init__(self, exchange: Exchange, parts: Iterable[bytes]) -> None:
        self._exchange = exchange
        self._parts = parts
        self._next = iter(parts)
        self._read: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            part = next(self._next)
        except StopIteration:
            RECORDER.body(self._exchange, b"".join(self._read))
            raise
        self._read.append(part)
        return part

    def close(self) -> None:
        if hasattr(self._parts, "close"):
            self._parts.close()


def _document(app: Any) -> dict[str, Any]:
    from api.openapi import document

    return document(app)


def _exchange(response: TestResponse) -> Exchange:
    request = response.request
    source = request.environ["wsgi.input"]
    body = b""
    if response.status_code < 300 and request.method in ("POST", "PATCH") and source.seekable():
        source.seek(0)
        body = source.read()
    return Exchange(
        request.method,
        request.path,
        tuple(request.args),
        media_type(request.headers),
        body,
        response.status_code,
        dict(response.headers),
    )
