"""Every error that Almanac answers with, in one shape, made in one place."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from bson.errors import BSONError
from flask import Flask, Response, current_app, g, request
from pymongo.errors import ExecutionTimeout, PyMongoError
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from api.render import MIME, dumps
from ml import errors as service
from ml.database.client import READ_MS
from ml.database.refusals import refused
from ml.identity.redaction import redacted

log = logging.getLogger(__name__)


class ApiError(Exception):
    """An answer other than success. `issues` maps a field, or a place in what was sent, to what is wrong with it."""

    def __init__(
        self,
        code: int,
        message: str,
        issues: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.issues = dict(issues or {})
        self.headers = dict(headers or {})

    def shown(self) -> dict[str, Any]:
        """What the answer says."""
        body: dict[str, Any] = {"_status": "ERR", "_error": {"code": self.code, "message": self.message}}
        if self.issues:
            body["_issues"] = self.issues
        return body

    def body(self) -> bytes:
        """The same as JSON."""
        return dumps(self.shown())

    def response(self) -> Response:
        """The JSON answer, in the shape of whoever answers at this request's path."""
        code, body, headers = said(self, request.path, current_app.extensions["dialects"])
        return Response(body, code, headers, mimetype="application/json")


class Speaker(Protocol):
    """Whoever answers on some paths, and says errors there in another protocol's words: see api/dialects/base.py."""

    def owns(self, path: str) -> bool:
        """Whether what is answered at this path is said by this one."""

    def said(self, error: ApiError) -> tuple[int, bytes]:
        """The status and the body of an error."""


def said(error: ApiError, path: str, dialects: Sequence[Speaker]) -> tuple[int, bytes, dict[str, str]]:
    """The status, the body and the headers of an error as it is answered at a path."""
    for dialect in dialects:
        if dialect.owns(path):
            code, body = dialect.said(error)
            body = redacted(body.decode()).encode()
            # Some have it for more than is over in a second; it always says when to come again.
            return code, body, {"Retry-After": "1"} | error.headers if code == 503 else error.headers
    return error.code, redacted(error.body().decode()).encode(), error.headers


class ErrorAnswer(NamedTuple):
    """An error as a WSGI application answers it, but for the request's id."""

    code: int
    status: str
    headers: list[tuple[str, str]]
    body: bytes


def error_answer(error: ApiError, path: str, dialects: Sequence[Speaker]) -> ErrorAnswer:
    """The answer where Flask has no request: before it, and around it."""
    code, body, more = said(error, path, dialects)
    headers = {**more, "Content-Type": MIME, "Content-Length": str(len(body))}
    return ErrorAnswer(code, f"{code} {HTTP_STATUS_CODES[code].upper()}", list(headers.items()), body)


#: What the service refuses or fails at, as an HTTP status.
CODES: dict[type[service.ServiceError], int] = {
    service.UnknownModel: 404,
    service.UnknownDocuments: 404,
    service.ModelNotAvailable: 409,
    service.WrongState: 409,
    service.Changed: 412,
    service.NotAllowed: 403,
    service.Invalid: 422,
    service.DeadlineExceeded: 504,
    service.StorageUnavailable: 503,
    service.Overloaded: 503,
    service.TooManyFailures: 429,
    service.KeyReused: 409,
    service.UnderWay: 503,
    service.ExecutionFailed: 500,
}

#: What may go well a moment later.
LATER = (service.StorageUnavailable, service.Overloaded, service.UnderWay)


def from_service(error: service.ServiceError, request_id: str | None = None) -> ApiError:
    """The answer to something that the service refused or failed at; `request_id` where Flask has no request."""
    issues = getattr(error, "issues", {})
    headers = {"Retry-After": "1"} if isinstance(error, LATER) else {}
    if isinstance(error, service.TooManyFailures):
        headers["Retry-After"] = str(error.seconds)
    message = str(error)
    if isinstance(error, service.ExecutionFailed):
        message += f" (request {request_id or g.get('request_id', '-')})"
    return ApiError(CODES[type(error)], message, issues, headers)


def from_database(error: PyMongoError) -> ApiError:
    """The answer where the database failed: 400 for what the request brought about, else 503."""
    if refused(error):
        reason = str((getattr(error, "details", None) or {}).get("errmsg", "not understood"))
        if request.method in ("GET", "HEAD"):
            return ApiError(400, "the query cannot be answered", {"where": reason})
        return ApiError(400, "the document cannot be stored", {"body": reason})
    if isinstance(error, ExecutionTimeout):
        message = f"the database was busy with this for {READ_MS // 1000} s: ask for less, or by a field with an index"
        return ApiError(503, message, headers={"Retry-After": "1"})
    log.warning("the database failed: %s", error)
    return ApiError(503, f"the database is not available ({type(error).__name__})", headers={"Retry-After": "1"})


def answer_to(error: service.ServiceError | PyMongoError) -> Response:
    """The response to something that went wrong below HTTP."""
    return (from_service(error) if isinstance(error, service.ServiceError) else from_database(error)).response()


def register(app: Flask, dialects: Sequence[Speaker] = ()) -> None:
    """Let every error that a request meets be answered in the one shape; on the paths of `dialects` in theirs."""
    app.extensions["dialects"] = tuple(dialects)
    app.register_error_handler(ApiError, lambda error: error.response())
    app.register_error_handler(service.ServiceError, answer_to)
    app.register_error_handler(PyMongoError, answer_to)
    app.register_error_handler(
        BSONError, lambda error: ApiError(422, "a value cannot be stored", {"body": str(error)}).response()
    )
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(Exception, _unexpected)


def _from_http(error: HTTPException) -> Response:
    code = error.code or 500
    if error.response is not None:  # someone made the whole answer
        return error.response  # type: ignore[return-value]
    message = {
        404: f"there is nothing at {request.path[:200]}",
        405: f"{request.method} is not allowed here",
        412: "the document is no longer what If-Match names",
        413: "the body is larger than is allowed here",
        428: "If-Match is needed: the document's _etag, or *",
    }.get(code, error.description or "")
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After", "Location")}
    return ApiError(code, message, headers=headers).response()


def _unexpected(error: Exception) -> Response:
    return unexpected(error, request.method, request.path, g.get("request_id", "-")).response()


def unexpected(error: Exception, method: str, path: str, request_id: str) -> ApiError:
    """The answer to an error that is none of a client's; the log has all of it."""
    log.error("unexpected error in %s %s", method, path, exc_info=error)
    return ApiError(500, f"unexpected error; the log has it under request {request_id}")
