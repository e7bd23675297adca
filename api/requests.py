"""What is true of every request: its id, its log line, and that a body is JSON where JSON is meant."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from eve.utils import weak_date
from flask import Flask, Request, Response, g, request

from api.access_log import log_answer
from api.errors import ApiError
from ml.identity.redaction import holds_secret

#: Where a request of our own has the fields and files of its form, which were read from a browser's.
PARSED = "almanac.parsed"
SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}\Z")
JSON = "application/json"
#: What is said where a key came in the wrong place.
MISPLACED = "expected no secrets, got one of Almanac's, which is not stored: a key goes into the header Authorization"


class AlmanacRequest(Request):
    """A request whose JSON errors are Almanac's."""

    def on_json_loading_failed(self, e: ValueError | None) -> NoReturn:
        if e is None:
            raise not_json_type()
        raise ApiError(422, "the body is not JSON", {"body": _why(self.get_data(cache=True), e)})

    def get_data(self, cache: bool = True, as_text: Any = False, parse_form_data: bool = False) -> Any:
        """The body. One that is announced with its length is read at once: each read lets go of the interpreter."""
        if cache and not parse_form_data and "stream" not in self.__dict__ and not hasattr(self, "_cached_data"):
            length = self.content_length
            if length is not None and length <= (self.max_content_length or 0):
                self._cached_data = self._read(length)
        return super().get_data(cache, as_text, parse_form_data)

    def ask(self, query: str) -> None:
        """Go on as if the address had this query string."""
        self.environ["QUERY_STRING"], self.query_string = query, query.encode("latin-1")
        for name in ("args", "full_path", "url"):
            self.__dict__.pop(name, None)

    def _load_form_data(self) -> None:
        parsed = self.environ.get(PARSED)
        if parsed is not None:
            self.__dict__.update(stream=self.environ["wsgi.input"], form=parsed[0], files=parsed[1])
            return
        super()._load_form_data()
        if None in self.__dict__["form"] or None in self.__dict__["files"]:
            raise ApiError(422, "the form does not fit", {"": "expected a name for each part, got one without"})

    def _read(self, length: int) -> bytes:
        data = read_announced(self.environ["wsgi.input"], length)
        if len(data) < length:
            raise ApiError(400, f"the body ends after {len(data)} of {length} bytes")
        return data


def read_announced(source: Any, length: int) -> bytes:
    """The body of `length` bytes, at once where it is there; fewer where it ends before."""
    data: bytes = source.read(length)
    while len(data) < length:
        more = source.read(length - len(data))
        if not more:
            break
        data += more
    return data


def json_body() -> Any:
    """The body of this request as JSON. Raises 415 for another type and 422 for what does not parse."""
    if request.mimetype != JSON:
        raise not_json_type()
    return request.get_json(force=True)


def refuse_secrets(*sent: bytes | str) -> None:
    """Refuse what is to be stored and has a key in it: somebody put it into the wrong place. Raises 422."""
    for data in sent:
        if holds_secret(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")):
            raise ApiError(422, "there is a secret in it", {"body": MISPLACED})


def not_json_type() -> ApiError:
    came = request.headers.get("Content-Type") or "none"
    return ApiError(415, f"expected Content-Type {JSON}, got {came[:100]}")


def register(app: Flask) -> None:
    """Give every request an id, which the response and its log line carry."""
    app.request_class = AlmanacRequest
    app.before_request(_begin)
    app.after_request(_end)


def request_id(environ: Mapping[str, Any]) -> str:
    """The id that a client gave its request where it is a sane one, else a new one."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    return given if given and SANE_ID.match(given) and not holds_secret(given.encode()) else _new_id()


def named(environ: Mapping[str, Any], given: str | None) -> str | None:
    """The id that a request's body gives it, where that is a sane one and no header gives it another."""
    if not given or "HTTP_X_REQUEST_ID" in environ or not SANE_ID.match(given) or holds_secret(given.encode()):
        return None
    return given


def _new_id() -> str:
    # Not os.urandom: it lets go of the interpreter, which costs a turn under load, and an id is no secret.
    return f"{random.getrandbits(128):032x}"


def _begin() -> None:
    # The WSGI environment is asked, not request.headers: this runs for every request, and proxies cost.
    environ = request.environ
    context = g._get_current_object()
    context.request_id = request_id(environ)
    context.began = time.monotonic()
    if "HTTP_IF_MODIFIED_SINCE" in environ or "HTTP_IF_MATCH" in environ or "HTTP_IF_NONE_MATCH" in environ:
        _check_headers()


def _check_headers() -> None:
    since = request.headers.get("If-Modified-Since")
    if since is not None:
        try:
            weak_date(since)  # as Eve will
        except (ValueError, OverflowError):
            raise ApiError(400, "If-Modified-Since is not an HTTP date", {"If-Modified-Since": since[:100]}) from None
    for name in ("If-Match", "If-None-Match"):
        if len(request.headers.get(name, "")) > 1000:
            raise ApiError(400, f"{name} is longer than an entity tag can be", {name: "at most 1000 characters"})


def _end(response: Response) -> Response:
    context = g._get_current_object()
    id_ = context.get("request_id") or _new_id()
    response.headers["X-Request-ID"] = id_
    log_answer(request.environ, id_, response.status_code, context.get("began"))
    return response


def _why(data: bytes, error: ValueError) -> str:
    """Why a body is not JSON; Python's own parser knows NaN and Infinity, so it can say which is there."""
    found: list[str] = []

    def constant(name: str) -> float:
        found.append(name)
        return math.nan

    try:
        json.loads(data, parse_constant=constant)
    except (ValueError, RecursionError):
        return str(error)
    return f"{found[0]} is not JSON" if found else str(error)


def lenient_body() -> Any:
    """The body with NaN and Infinity as numbers, so that the row which holds one can be named; None where it is no
    JSON even so. For messages alone: what is not JSON is never accepted.
    """
    try:
        return json.loads(request.get_data(cache=True))
    except (ValueError, RecursionError):
        return None
