"""Responses: a body that is there in whole is given to the server in whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flask import Response

from api.render import MIME, dumps

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

BODILESS = frozenset({204, 304})


class AlmanacResponse(Response):
    """A response that is a list of bytes to the WSGI server where it can be.

    Werkzeug gives an iterator that also closes the response, and the server fetches such a body piece by piece, each
    time taking the interpreter, from a thread of its own. Where nothing is to be closed, a list is the same to WSGI.
    """

    def get_app_iter(self, environ: WSGIEnvironment) -> Iterable[bytes]:
        body = self.response
        if (
            type(body) is list
            and not self._on_close
            and environ["REQUEST_METHOD"] != "HEAD"
            and self.status_code not in BODILESS
            and self.status_code >= 200
            and all(type(part) is bytes for part in body)
        ):
            return body
        return super().get_app_iter(environ)


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> AlmanacResponse:
    """A value as JSON."""
    return AlmanacResponse(dumps(value), status, dict(headers or {}), mimetype=MIME)
