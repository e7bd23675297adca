"""The recorder: each exchange of a test is compared with the document, and what does not fit fails that test."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from api.dialects import DIALECTS
from tests.recorded.described import Answer, Described, Json

#: Pages for people, and the files that they are made of: the document is about what answers programs.
LEFT_OUT = re.compile(r"/(docs(/.*)?|login|logout|static/.*|browse/.*|console/.*)?\Z")
#: What is answered where there is no such path, or no such method of it.
NO_OPERATION = frozenset({400, 401, 403, 404, 405, 429, 503})
#: Headers of HTTP itself, which mean here what they mean everywhere, and those that the document names for all.
GENERAL = frozenset(
    "allow cache-control connection content-length content-type date server transfer-encoding vary x-accel-buffering "
    "access-control-allow-origin access-control-expose-headers access-control-allow-headers "
    "access-control-allow-methods access-control-max-age content-security-policy referrer-policy "
    "strict-transport-security x-content-type-options ratelimit-limit ratelimit-policy ratelimit-remaining "
    "ratelimit-reset".split()
)
#: The body of every error where there is no operation, but for dialects' own paths.
ERROR: Json = {"schema": {"$ref": "#/components/schemas/Error"}}
JSON = "application/json"


@dataclass(frozen=True)
class Exchange:
    """A request and the head of its answer."""

    method: str
    path: str
    query: tuple[str, ...]
    kind: str
    body: bytes
    status: int
    headers: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status}"


class Recorder:
    """Of one process: `problems` are those since they were last taken, `seen` is all that was ever answered."""

    def __init__(self) -> None:
        self.described: Described | None = None
        self.seen: set[Answer] = set()
        self.problems: list[str] = []
        #: Whether the bodies of answers are compared; they are not where a test stores what other programs might.
        self.bodies = True

    def use(self, document: Callable[[], Json]) -> None:
        """Compare with this document from now on, unless there is one already: it is the same for every app."""
        if self.described is None:
            self.described = Described(document())

    def take(self) -> list[str]:
        """The problems, which are then no longer here."""
        problems, self.problems = self.problems, []
        return problems

    def head(self, exchange: Exchange) -> bool:
        """Compare all but the answer's body; whether that is to be compared too."""
        if LEFT_OUT.match(exchange.path):
            return False
        described = self._described()
        operation = described.operation(exchange.method, exchange.path)
        if operation is None:
            allowed = exchange.status in NO_OPERATION or (
                exchange.method == "OPTIONS" and exchange.status in (200, 204)
            )
            if not allowed:
                self._note(exchange, ["the document has no such operation"])
            return allowed
        response = described.response(operation, exchange.status)
        if response is None:
            self._note(exchange, ["the status is not documented"])
            return False
        path = described.path(exchange.path)
        assert path is not None
        self.seen.add(("GET" if exchange.method == "HEAD" else exchange.method, path, exchange.status))
        self._note(exchange, self._wrong_headers(response, exchange.headers))
        if 200 <= exchange.status < 300:
            self._note(exchange, self._wrongly_accepted(operation, exchange))
        return True

    def body(self, exchange: Exchange, body: bytes) -> None:
        """Compare the answer's body."""
        if not self.bodies or "Content-Encoding" in exchange.headers:
            return
        described = self._described()
        operation = described.operation(exchange.method, exchange.path)
        if operation is None and exchange.method == "OPTIONS" and exchange.status < 300:
            return
        if operation is None:
            content: Json = {JSON: _error_at(exchange.path)}
        else:
            content = (described.response(operation, exchange.status) or {}).get("content", {})
        if not content or exchange.method == "HEAD":
            self._note(exchange, [f"the document has no body here, got {len(body)} bytes"] if body else [])
            return
        kind = media_type(exchange.headers)
        if "*/*" in content:
            kind = "*/*"
        if kind not in content:
            self._note(exchange, [f"expected Content-Type {' or '.join(content)}, got {kind or 'none'}"])
        else:
            self._note(exchange, described.content_misfits(kind, content[kind], body), body)

    def _described(self) -> Described:
        assert self.described is not None
        return self.described

    def _wrong_headers(self, response: Json, headers: Mapping[str, str]) -> list[str]:
        described = self._described()
        expected = {name.lower(): described.resolved(header) for name, header in response.get("headers", {}).items()}
        came = {name.lower(): value for name, value in headers.items()}
        missing = [name for name, header in expected.items() if header.get("required") and name not in came]
        unknown = sorted(came.keys() - expected.keys() - GENERAL)
        return [
            *(f"the header {name} is missing" for name in missing),
            *(f"the header {name} is not documented" for name in unknown),
            *(
                f"the header {name}: {why}"
                for name in expected.keys() & came.keys()
                for why in described.header_misfits(expected[name], came[name])
            ),
        ]

    def _wrongly_accepted(self, operation: Json, exchange: Exchange) -> list[str]:
        """What the document does not allow in a request that was accepted."""
        described = self._described()
        parameters = [described.resolved(parameter) for parameter in operation.get("parameters", [])]
        known = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
        wrong = [f"the parameter {name} was accepted, and is not documented" for name in {*exchange.query} - known]
        if not exchange.body:
            return wrong
        documented = described.resolved(operation.get("requestBody", {}))
        content = documented.get("content", {})
        kind = JSON if documented.get("x-any-type") and exchange.kind not in content else exchange.kind
        if kind not in content:
            return [*wrong, f"a body of type {kind or 'none'} was accepted, and is not documented"]
        if kind == JSON:
            misfits = described.content_misfits(JSON, content[JSON], exchange.body)
            wrong += [f"the request was accepted, and does not fit: {why}" for why in misfits]
        return wrong

    def _note(self, exchange: Exchange, wrong: list[str], body: bytes = b"") -> None:
        excerpt = f"\n    {body[:400]!r}" if body else ""
        self.problems += [f"{exchange}: {why}{excerpt}" for why in wrong]


def _error_at(path: str) -> Json:
    return next(({"schema": dialect.error_schema} for dialect in DIALECTS if dialect.owns(path)), ERROR)


def media_type(headers: Mapping[str, Any]) -> str:
    """The type of a body, without its parameters."""
    return str(headers.get("Content-Type") or "").partition(";")[0].strip().lower()
