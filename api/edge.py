"""What every request and every answer passes: hosts that are not ours are refused, headers that browsers heed are set.

Pages set a policy of their own (api/console/pages.py); everything else is data.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from api.access_log import log_answer
from api.errors import ApiError, Speaker, error_answer
from api.probes import HEALTH
from api.requests import request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

WSGI = Callable[["WSGIEnvironment", "StartResponse"], Iterable[bytes]]
Header = tuple[str, str]

#: In a request's environment: headers that its answer is to have besides.
MORE_HEADERS = "almanac.headers"
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
#: Where the same URL is JSON, lines of JSON or a page.
NEGOTIATED = "/api/v1"
VARY: Header = ("Vary", "Accept")
#: Hosts that are remembered to be trusted, and combinations of headers.
MOST_REMEMBERED = 64

#: For every answer that does not say otherwise. What is answered is data: nothing of it is ever to be run or framed.
ALWAYS: tuple[Header, ...] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    # Empty: the server underneath would write its name.
    ("Server", ""),
)
#: A year, as browsers' lists of such hosts want it.
HSTS: Header = ("Strict-Transport-Security", "max-age=31536000")
#: What has an entity tag may be kept by who asked, and asked for anew; everything else is not to be kept.
TAGGED: Header = ("Cache-Control", "private, no-cache")
UNTAGGED: Header = ("Cache-Control", "no-store")


class Edge:
    """The WSGI application around all others."""

    def __init__(
        self, inside: WSGI, hosts: Collection[str] = (), *, tls: bool = False, dialects: Sequence[Speaker] = ()
    ) -> None:
        self._inside = inside
        self._dialects = dialects
        self._hosts = frozenset(hosts)
        #: Those of which every name below is trusted too.
        self._domains = tuple(host for host in hosts if host.startswith("."))
        self._known: set[str] = set()
        self._always = (*ALWAYS, *((HSTS,) if tls else ()))
        #: By the names of the headers that an answer has: what it lacks. There are few different ones.
        self._missing: dict[tuple[str, ...], tuple[Header, ...]] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass a request on, and complete its answer."""

        def start(status: str, headers: list[Header], *failed: Any) -> Any:
            return start_response(status, self._completed(headers, environ), *failed)

        if self._hosts and not self._trusts(environ):
            return self._refuse(environ, start)
        return self._inside(environ, start)

    def _completed(self, headers: list[Header], environ: WSGIEnvironment) -> list[Header]:
        names = tuple([name for name, _ in headers])
        missing = self._missing.get(names)
        if missing is None:
            missing = self._lacking({name.lower() for name in names})
            if len(self._missing) < MOST_REMEMBERED:
                self._missing[names] = missing
        if environ.get("PATH_INFO", "").startswith(NEGOTIATED):
            headers = _varying(headers, names)
        return [*headers, *missing, *environ.get(MORE_HEADERS, ())]

    def _lacking(self, names: set[str]) -> tuple[Header, ...]:
        kept = TAGGED if "etag" in names else UNTAGGED
        return tuple((name, value) for name, value in (*self._always, kept) if name.lower() not in names)

    def _trusts(self, environ: WSGIEnvironment) -> bool:
        host = environ.get("HTTP_HOST", "")
        # Health says nothing that a page of another site could use.
        if host in self._known or environ["PATH_INFO"].startswith(HEALTH):
            return True
        found = HOST.fullmatch(host.lower())
        if found is None or int(found[2] or 1) not in range(1, 1 << 16):
            return False
        if found[1] not in self._hosts and not f".{found[1]}".endswith(self._domains):
            return False
        if len(self._known) < MOST_REMEMBERED:
            self._known.add(host)
        return True

    def _refuse(self, environ: WSGIEnvironment, start: Callable[..., Any]) -> list[bytes]:
        began, id_ = time.monotonic(), request_id(environ)
        host = environ.get("HTTP_HOST", "")
        error = ApiError(400, "the request is for another host", {"Host": f"{host[:100]!r} is none of this server's"})
        answer = error_answer(error, environ["PATH_INFO"], self._dialects)
        start(answer.status, [*answer.headers, ("X-Request-ID", id_)])
        log_answer(environ, id_, answer.code, began)
        return [answer.body] if environ["REQUEST_METHOD"] != "HEAD" else []


def _varying(headers: list[Header], names: tuple[str, ...]) -> list[Header]:
    """The headers with one that says that the answer hangs on Accept; what it hangs on besides is said there too."""
    if "Vary" not in names:
        return [*headers, VARY]
    also = [value for name, value in headers if name == "Vary"]
    return [*(header for header in headers if header[0] != "Vary"), ("Vary", ", ".join(["Accept", *also]))]
