"""Posts one message to a URL within a time limit, to no other address than one that was checked."""

from __future__ import annotations

import io
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, parse_headers
from urllib.parse import urljoin

from ml.webhooks.addresses import is_public
from ml.webhooks.target import BadTarget, LookUp, Predicate, Target, addresses, look_up, parse

#: For a connection, and for all of an attempt: look-ups, redirects and a receiver that sends a byte now and then.
CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
#: Redirects that are followed; only those that keep method and body.
MOST_REDIRECTS = 3
REDIRECTS = frozenset({307, 308})
#: Bytes of an answer that are read, in search of the end of its headers. Its body is nobody's concern.
MOST_BYTES = 65_536
USER_AGENT = "Almanac"

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?\r?\n")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt: the last HTTP status that was seen, and why it failed, unless it did not."""

    code: int | None = None
    error: str | None = None
    #: Seconds that a receiver asked to be left in peace.
    retry_after: float | None = None


class Poster:
    """Posts messages. `private` lets it reach addresses that are not public; the others are here to be replaced."""

    def __init__(
        self,
        private: bool = False,
        look_up: LookUp = look_up,
        allowed: Predicate = is_public,
        tls: ssl.SSLContext | None = None,
        seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._look_up = look_up
        self._allowed: Predicate = (lambda _: True) if private else allowed
        self._tls = tls or ssl.create_default_context()
        self._seconds = seconds

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Post to `url` and wherever it redirects. Nothing is raised: whatever fails is the outcome's error."""
        deadline = time.monotonic() + self._seconds
        code: int | None = None
        try:
            for _ in range(MOST_REDIRECTS + 1):
                target = parse(url)
                code, answered = self._send(target, headers, body, deadline)
                if code not in REDIRECTS or "location" not in answered:
                    return Outcome(code, _problem(code), _retry_after(code, answered))
                before, url = target, urljoin(url, answered["location"])
                if before.scheme == "https" and not url.startswith("https:"):
                    raise BadTarget("redirected from https to what is not")
            return Outcome(code, f"more than {MOST_REDIRECTS} redirects")
        except BadTarget as error:
            return Outcome(code, f"redirected, and {error}" if code else str(error))
        except TimeoutError:
            return Outcome(code, f"no answer within {self._seconds:g} s")
        except (OSError, HTTPException, ValueError) as error:
            return Outcome(code, f"{type(error).__name__}: {error}"[:500])

    def _send(
        self, target: Target, headers: Mapping[str, str], body: bytes, deadline: float
    ) -> tuple[int, dict[str, str]]:
        """The status and the headers, by lower-case names, that one server answers with."""
        lines = {
            "Host": target.authority,
            "User-Agent": USER_AGENT,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        with self._connect(target, deadline) as connection:
            connection.settimeout(_left(deadline))
            connection.sendall(f"POST {target.path} HTTP/1.1\r\n{head}\r\n".encode("ascii") + body)
            return _read_answer(connection, deadline)

    def _connect(self, target: Target, deadline: float) -> socket.socket:
        """A connection to an address of the target, checked just now: the name is not looked up a second time."""
        found = addresses(target, self._look_up, self._allowed, _left(deadline))
        failure: OSError | None = None
        for address in found:
            try:
                plain = socket.create_connection((address, target.port), min(CONNECT_SECONDS, _left(deadline)))
            except OSError as error:
                failure = error
                continue
            if target.scheme == "http":
                return plain
            try:
                plain.settimeout(_left(deadline))
                return self._tls.wrap_socket(plain, server_hostname=target.host)
            except BaseException:
                plain.close()
                raise
        raise ConnectionError(f"no connection to {target.authority} ({failure})")


def _read_answer(connection: socket.socket, deadline: float) -> tuple[int, dict[str, str]]:
    """Status and headers; interim answers (1xx) are passed over."""
    data = b""
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if end:
            code, headers = _parse(head)
            if code >= 200:
                return code, headers
            data = rest
            continue
        if len(data) >= MOST_BYTES:
            raise ValueError(f"the headers of the answer do not end within {MOST_BYTES} bytes")
        connection.settimeout(_left(deadline))
        more = connection.recv(4096)
        if not more:
            raise ConnectionError("the connection was closed before there was an answer")
        data += more


def _parse(head: bytes) -> tuple[int, dict[str, str]]:
    status = _STATUS_LINE.match(head + b"\r\n")
    if status is None:
        raise ValueError("the answer is not HTTP/1.1")
    fields = parse_headers(io.BytesIO(head[status.end() :] + b"\r\n\r\n"))
    return int(status[1]), {name.lower(): value for name, value in fields.items()}


def _problem(code: int) -> str | None:
    return None if 200 <= code < 300 else f"the receiver answered {code}"


def _retry_after(code: int, headers: Mapping[str, str]) -> float | None:
    given = headers.get("retry-after", "").strip()
    return float(given) if code in (429, 503) and given.isascii() and given.isdigit() and len(given) <= 9 else None


def _left(deadline: float) -> float:
    """Seconds until a monotonic time. Raises TimeoutError where it has come."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
