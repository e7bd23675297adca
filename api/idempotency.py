"""`Idempotency-Key`: a POST that is sent twice is done once, and answered as it was the first time.

Only success is kept. A request that was refused (4xx) made nothing and leaves its key free; one that failed otherwise
may be sent again, and makes the documents that it would have made.
"""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask, Response, g, request
from pymongo.errors import PyMongoError

from api.auth.caller import current_caller
from api.errors import ApiError
from api.fingerprint import fingerprint
from api.requests import MISPLACED
from api.routes.predict import PREDICTIONS
from ml.errors import StorageUnavailable, UnderWay
from ml.identity.redaction import holds_secret
from ml.service import Admission, Claim, KeyedRequest, Pending, Service, StoredAnswer

log = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
IN_ENVIRON = "HTTP_IDEMPOTENCY_KEY"

#: The endpoints whose POST heeds the header.
ENDPOINTS = (*PREDICTIONS, "inputs|resource", "jobs|resource")

SANE_KEY = re.compile(r"[ -~]{1,255}\Z")
#: Of the places that predictions have, those in which requests may wait for another with their key.
WAITING_SHARE = 4
#: Seconds between two looks at a key whose request is under way, the first time and at most.
FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.25

#: Headers that each answer has of its own.
_NOT_KEPT = frozenset({"content-length", "set-cookie", "date", "x-request-id"})

View = Callable[..., Any]


def register(app: Flask) -> None:
    """Make the POSTs of `ENDPOINTS` heed the header. They are registered before; without it they cost no more."""
    service: Service = app.extensions["service"]
    waiting = Admission(
        max(1, service.limits.places // WAITING_SHARE), "requests that wait for another with their Idempotency-Key"
    )
    for endpoint in ENDPOINTS:
        predictions = service.admission if endpoint in PREDICTIONS else None
        view = app.view_functions[endpoint]
        app.view_functions[endpoint] = _heeding(view, _Once(app, service, view, predictions, waiting))


def _heeding(view: View, once: _Once) -> View:
    @functools.wraps(view)
    def heeding(**values: Any) -> Any:
        environ = request.environ
        if IN_ENVIRON not in environ or environ["REQUEST_METHOD"] != "POST":
            return view(**values)
        return once.answer(environ[IN_ENVIRON], values)

    return heeding


class _Once:
    """A view that answers each key once."""

    def __init__(
        self, app: Flask, service: Service, view: View, predictions: Admission | None, waiting: Admission
    ) -> None:
        self._app = app
        self._service = service
        self._keys = service.keys
        self._view = view
        self._predictions = predictions
        self._waiting = waiting

    def answer(self, key: str, values: dict[str, Any]) -> Response:
        """The answer that is kept under the key, or the view's, which is kept before it is given."""
        if not SANE_KEY.match(key):
            issue = f"expected 1 to 255 printable ASCII characters, got {key[:100]!r}" + " ..." * (len(key) > 100)
            raise ApiError(400, f"{HEADER} is not understood", {HEADER: issue})
        if holds_secret(key.encode()):
            raise ApiError(400, f"{HEADER} is no place for a secret", {HEADER: MISPLACED})
        deadline = time.monotonic() + self._service.limits.deadline_ms / 1000
        asked = None
        while True:
            # A key takes time at the database: where predictions find no place, none is claimed.
            with _place_in(self._predictions):
                asked = asked or KeyedRequest(current_caller().owner, request.path, key, fingerprint())
                found = self._claimed_or_answered(asked, deadline)
            if isinstance(found, StoredAnswer):
                return self._replay(found)
            try:
                response = self._run(found, values)
                if self._settled(found, response):
                    return response
            finally:
                self._keys.drop(found)

    def _claimed_or_answered(self, asked: KeyedRequest, deadline: float) -> Claim | StoredAnswer:
        """The key, or what is kept under it, once no other request is at it. Raises UnderWay after the deadline."""
        found = self._keys.claim(asked)
        if not isinstance(found, Pending):
            return found
        with _place_in(self._waiting):
            pause = FIRST_PAUSE
            while isinstance(found, Pending):
                if time.monotonic() >= deadline:
                    raise UnderWay(f"a request with this {HEADER} is still being answered: send it again later")
                time.sleep(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE)
                if not self._keys.under_way(found):
                    found = self._keys.claim(asked)
        return found

    def _run(self, claim: Claim, values: dict[str, Any]) -> Response:
        g.claim = claim
        try:
            return self._app.make_response(self._view(**values))
        except Exception as error:  # noqa: BLE001  # what becomes of the key hangs on how it is answered
            return self._app.make_response(self._app.handle_user_exception(error))
        finally:
            del g.claim

    def _settled(self, claim: Claim, response: Response) -> bool:
        """Keep the answer, or let go of the key; False where another has taken the key over meanwhile."""
        if 200 <= response.status_code < 300:
            try:
                return self._keys.finish(claim, _kept(response))
            except PyMongoError as error:
                raise StorageUnavailable(
                    f"it was done, but its answer could not be kept ({type(error).__name__}): "
                    f"send it again with the same {HEADER}"
                ) from error
        try:
            # A refusal made nothing; but an earlier run under this key may have.
            if response.status_code < 500 and not claim.again:
                self._keys.forget(claim)
            else:
                self._keys.let_go(claim)
        except PyMongoError as error:
            log.warning("an idempotency key stays claimed until its lease runs out: %s", error)
        return True

    def _replay(self, answer: StoredAnswer) -> Response:
        response = self._app.response_class(answer.body, answer.status, answer.headers)
        response.headers[REPLAYED] = "true"
        return response


def _kept(response: Response) -> StoredAnswer:
    # As they are sent: a Location becomes a whole URL only there.
    headers = response.get_wsgi_headers(request.environ)
    kept = [(name, value) for name, value in headers if name.lower() not in _NOT_KEPT]
    return StoredAnswer(response.status_code, kept, response.get_data())


@contextmanager
def _place_in(admission: Admission | None) -> Iterator[None]:
    """Within it, one of the places is taken. Raises Overloaded where there is none."""
    if admission is None:
        yield
        return
    admission.take()
    try:
        yield
    finally:
        admission.give()
