"""What is answered before Flask makes a request of it: predictions in their plainest form, and those without a place.

Most predictions are a key and a body of rows, and nothing else. For these Flask's contexts, hooks and response take
longer than all else that the interpreter does, so they are read and answered here, by the functions that the routes
(`api/routes/predict.py`, and dialects' own: `Dialect.plain`) are made of. Whatever more a request has, and whatever is
wrong with it, is the route's, which then sees it as if nobody had looked at it. Only what goes wrong in the model or
after it is answered here too: the rows are not to be computed twice.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from api.access_log import log_answer
from api.application import Application
from api.audit import note_refusal
from api.auth.credentials import Authenticator
from api.auth.guard import caller_of
from api.auth.permissions import permit
from api.dialects import DIALECTS
from api.errors import ApiError, error_answer, from_service, unexpected
from api.full import Full
from api.plain import Plain, Reading
from api.predict_request import NPY, plain_fields
from api.rate_limits.counting import RateLimits, TooMany
from api.render import MIME
from api.requests import named, read_announced, request_id
from api.routes.predict import PREDICTIONS, answer_body
from ml.errors import ServiceError
from ml.service import Admission, Answer, LiveModel, Prediction, Service, Signature, count_request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: The headers of an answer that is JSON.
JSON_HEADERS = [("Content-Type", MIME)]
JSON_TYPES = frozenset({MIME, f"{MIME}; charset=utf-8", f"{MIME};charset=utf-8", f"{MIME}; charset=UTF-8"})
#: Headers that say more than a plain prediction does.
MORE = frozenset(
    {
        "HTTP_IDEMPOTENCY_KEY",
        "HTTP_PREFER",
        "HTTP_IF_MATCH",
        "HTTP_IF_NONE_MATCH",
        "HTTP_IF_MODIFIED_SINCE",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_CONTENT_ENCODING",
    }
)

WSGI = Callable[["WSGIEnvironment", "StartResponse"], Iterable[bytes]]


def _fits(environ: WSGIEnvironment) -> bool:
    return environ.get("CONTENT_TYPE") in JSON_TYPES and NPY not in environ.get("HTTP_ACCEPT", "")


def _read(_: WSGIEnvironment, data: bytes, signature: Signature) -> Reading | None:
    fields = plain_fields(data, signature)
    return None if fields is None else Reading(fields, _written)


def _written(answer: Answer, _: str) -> tuple[bytes, list[tuple[str, str]]]:
    return answer_body(answer), JSON_HEADERS


#: Almanac's own predictions.
NATIVE = Plain("almanac", frozenset(PREDICTIONS), "/predict", _fits, dict, _read)


def register(
    app: Application,
    places: Admission,
    authenticator: Authenticator,
    limits: RateLimits | None = None,
    *,
    cors: bool = False,
) -> None:
    """Put this before the application; `places` are those that every request takes.

    With `cors` answers to pages of other origins are to say so, which the application does.
    """
    app.wsgi_app = Early(app, places, authenticator, limits, MORE | {"HTTP_ORIGIN"} if cors else MORE)


class Early:
    """The WSGI application around another."""

    def __init__(
        self,
        app: Application,
        places: Admission,
        authenticator: Authenticator,
        limits: RateLimits | None,
        more: frozenset[str],
    ) -> None:
        self._inside: WSGI = app.wsgi_app
        self._app = app
        self._service: Service = app.extensions["service"]
        self._places = (places, self._service.admission)
        self._authenticator = authenticator
        self._most_bytes: int = app.config["MAX_CONTENT_LENGTH"]
        self._limits = limits
        self._more = more
        self._dialects = app.extensions["dialects"]
        self._full = Full(self._dialects)
        kinds = [NATIVE, *(dialect.plain for dialect in DIALECTS if dialect.plain is not None)]
        self._kinds = {endpoint: kind for kind in kinds for endpoint in kind.endpoints}
        self._endings = tuple({kind.ending for kind in kinds})

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, or leave it to the application."""
        if environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"].endswith(self._endings):
            # Under overload most find no place: what each costs is taken from those that were let in.
            refusal = self._service.admission.refusal()
            if refusal is not None:
                return self._full.answer(refusal, environ, start_response)
            found = self._plain(environ)
            if found is not None:
                answer = self._answer(environ, start_response, *found)
                if answer is not None:
                    return answer
        return self._inside(environ, start_response)

    def _plain(self, environ: WSGIEnvironment) -> tuple[Plain, str, dict[str, Any]] | None:
        """The kind, the endpoint, what the path says, if it was asked for before and the headers say nothing more."""
        found = self._app.remembered(environ["PATH_INFO"])
        if (
            found is None
            or environ.get("QUERY_STRING")
            # It may be a page's, in the name of a session.
            or ("HTTP_COOKIE" in environ and "HTTP_AUTHORIZATION" not in environ)
            or not self._more.isdisjoint(environ)
        ):
            return None
        endpoint = found[0].endpoint
        kind = self._kinds.get(endpoint)
        return (kind, endpoint, found[1]) if kind is not None and kind.fits(environ) else None

    def _answer(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        kind: Plain,
        endpoint: str,
        values: dict[str, Any],
    ) -> list[bytes] | None:
        """The answer to a prediction, for which the places are taken; None where it is the route's."""
        began, taken = time.monotonic(), []
        try:
            caller = caller_of(environ, self._authenticator)
            if self._limits is not None:
                self._limits.count_caller(environ, caller)
            permit(caller, endpoint, "POST", values)
            for places in self._places:
                places.take()
                taken.append(places)
            which = kind.meaning(values)
            live = self._service.registry.meant(**which)
            if isinstance(live, LiveModel) and (reading := self._reading(environ, kind, live.signature)) is not None:
                asked = Prediction(
                    model=which.pop("name"),
                    owner=caller.owner,
                    request=named(environ, reading.id) or request_id(environ),
                    protocol=kind.protocol,
                    **which,
                    **reading.fields,
                )
                return self._predict(environ, start_response, asked, reading, live, began)
        except TooMany as refusal:
            id_, found = request_id(environ), self._app.remembered(environ["PATH_INFO"])
            note_refusal(self._service, environ, refusal.code, caller, id_, found[0] if found else None)
            return self._send_error(refusal, ("", ""), environ, start_response, began, id_)
        except (ApiError, ServiceError):
            pass  # the route meets it again
        finally:
            for places in taken:
                places.give()
        return None

    def _reading(self, environ: WSGIEnvironment, kind: Plain, signature: Signature) -> Reading | None:
        """What the body says where it is plain; it can be read once more where it is not."""
        announced = environ.get("CONTENT_LENGTH", "")
        if not (announced.isascii() and announced.isdigit() and int(announced) <= self._most_bytes):
            return None
        data = read_announced(environ["wsgi.input"], int(announced))
        environ["wsgi.input"] = io.BytesIO(data)
        try:
            return kind.read(environ, data, signature) if len(data) == int(announced) else None
        except Exception:  # noqa: BLE001  # whatever is wrong with it, the route meets it again
            return None

    def _predict(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        asked: Prediction,
        reading: Reading,
        live: LiveModel,
        began: float,
    ) -> list[bytes]:
        id_ = asked.request or ""
        error: ApiError | None = None
        try:
            answer = self._service.predict(asked, live)
            body, headers = reading.write(answer, id_)
        except ServiceError as problem:
            error = from_service(problem, id_)
        except Exception as problem:  # noqa: BLE001  # as the application's own handler
            error = unexpected(problem, "POST", environ["PATH_INFO"], id_)
        if error is not None:
            return self._send_error(error, live.version.key, environ, start_response, began, id_)
        count_request((answer.model, answer.version), 200)
        start_response("200 OK", [*headers, ("Content-Length", str(len(body))), ("X-Request-ID", id_)])
        log_answer(environ, id_, 200, began)
        return [body]

    def _send_error(
        self,
        error: ApiError,
        model: tuple[str, int | str],
        environ: WSGIEnvironment,
        start_response: StartResponse,
        began: float,
        id_: str,
    ) -> list[bytes]:
        answer = error_answer(error, environ["PATH_INFO"], self._dialects)
        start_response(answer.status, [*answer.headers, ("X-Request-ID", id_)])
        count_request(model, answer.code)
        log_answer(environ, id_, answer.code, began)
        return [answer.body]
