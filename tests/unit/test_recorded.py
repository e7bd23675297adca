"""The recorder tells what the document does not: an answer's status, headers, type and body; what was accepted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.recorded.recorder import Exchange, Recorder

ID = {"X-Request-ID": "a"}
JSON = ID | {"Content-Type": "application/json"}
LINES = ID | {"Content-Type": "application/x-ndjson"}
ERROR = b'{"_status": "ERR", "_error": {"code": 404, "message": "m"}}'
THING = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "at": {"type": "string", "format": "date-time"}},
    "required": ["name"],
    "additionalProperties": False,
}
DOCUMENT: dict[str, Any] = {
    "components": {
        "schemas": {
            "Thing": THING,
            "Error": {"type": "object", "required": ["_status", "_error"], "properties": {"_status": {"const": "ERR"}}},
        },
        "headers": {"X-Request-ID": {"required": True, "schema": {"type": "string"}}},
        "responses": {
            "Missing": {
                "headers": {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}},
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            }
        },
        "parameters": {"Page": {"in": "query", "name": "page"}},
    },
    "paths": {
        "/things/{id}": {
            "parameters": [{"in": "path", "name": "id"}],
            "get": {
                "parameters": [{"$ref": "#/components/parameters/Page"}],
                "responses": {
                    "200": {
                        "headers": {
                            "X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"},
                            "X-Count": {"schema": {"type": "integer"}},
                        },
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Thing"}},
                            "application/x-ndjson": {"x-itemSchema": {"$ref": "#/components/schemas/Thing"}},
                            "application/x-npy": {},
                        },
                    },
                    "404": {"$ref": "#/components/responses/Missing"},
                },
            },
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}
                        }
                    }
                },
                "responses": {"204": {"headers": {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}}}},
            },
        },
        "/things/all": {"get": {"responses": {"200": {"headers": {}, "content": {"text/plain": {}}}}}},
    },
}


def problems(
    status: int,
    body: bytes = b"",
    headers: dict[str, str] = JSON,
    *,
    method: str = "GET",
    path: str = "/things/1",
    **request: Any,
) -> list[str]:
    recorder = Recorder()
    recorder.use(lambda: DOCUMENT)
    exchange = Exchange(
        method, path, request.get("query", ()), request.get("kind", ""), request.get("sent", b""), status, headers
    )
    if recorder.head(exchange):
        recorder.body(exchange, body)
    return recorder.take()


def test_what_is_documented_is_no_problem() -> None:
    assert problems(200, b'{"name": "a", "at": "2026-01-01T12:00:00.000Z"}', JSON | {"X-Count": "3"}) == []
    assert problems(200, b"", JSON, method="HEAD") == []
    assert problems(200, b'{"name": "a"}\n{"name": "b"}\n', LINES) == []
    assert problems(200, b"\x93NUMPY", ID | {"Content-Type": "application/x-npy"}) == []
    assert problems(404, ERROR) == []
    assert problems(204, b"", ID, method="POST", kind="application/json", sent=b'[{"name": "a"}]') == []
    assert problems(200, b"x", {"Content-Type": "text/plain; charset=utf-8"}, path="/things/all") == []
    assert problems(404, ERROR, JSON, path="/nowhere") == []
    assert problems(405, ERROR, JSON, method="DELETE") == []
    assert problems(200, b"", {"Allow": "GET", "Content-Type": "text/html"}, method="OPTIONS") == []
    assert problems(200, b"<html>", {}, path="/docs/x") == []


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("the status is not documented", problems(418, ERROR)),
        ("the status is not documented", problems(404, ERROR, path="/things/all")),
        ("the header x-request-id is missing", problems(404, ERROR, {"Content-Type": "application/json"})),
        ("the header x-new is not documented", problems(404, ERROR, JSON | {"X-New": "1"})),
        ('the header x-count: the body: "many"', problems(200, b'{"name": "a"}', JSON | {"X-Count": "many"})),
        ("got text/html", problems(404, ERROR, ID | {"Content-Type": "text/html"})),
        ("the body is not JSON", problems(200, b"{")),
        ('"name" is a required property', problems(200, b"{}")),
        ("Additional properties", problems(200, b'{"name": "a", "more": 1}')),
        ('"yesterday" is not a "date-time"', problems(200, b'{"name": "a", "at": "yesterday"}')),
        ("1 is not of type", problems(200, b'{"name": "a"}\n{"name": 1}\n', LINES)),
        ("no body here", problems(204, b"x", ID, method="POST")),
        ("no body here", problems(200, b"{}", method="HEAD")),
        ("the document has no such operation", problems(200, b"{}", path="/nowhere")),
        ("the document has no such operation", problems(204, b"", method="DELETE")),
        ('"_error" is a required property', problems(404, b'{"_status": "ERR"}', path="/nowhere")),
        ("got text/html", problems(404, b"<html>", {"Content-Type": "text/html"}, path="/nowhere")),
        ("the parameter max was accepted", problems(200, b'{"name": "a"}', query=("page", "max"))),
        ("a body of type text/csv was accepted", problems(204, b"", ID, method="POST", kind="text/csv", sent=b"a")),
        ("was accepted, and does not fit: 0/name: 1",
         problems(204, b"", ID, method="POST", kind="application/json", sent=b'[{"name": 1}]')),
    ],
)  # fmt: skip
def test_what_is_not_documented_is_told(expected: str, found: list[str]) -> None:
    assert len(found) == 1, found
    assert expected in found[0]


def test_a_problem_names_the_request_and_the_answer() -> None:
    (found,) = problems(200, b'{"name": 1}')
    assert found.startswith("GET /things/1 -> 200: name: 1 is not of type")
    assert "b'{\"name\": 1}'" in found


def test_what_was_seen_is_kept_by_the_path_of_the_document() -> None:
    recorder = Recorder()
    recorder.use(lambda: DOCUMENT)
    for method, path, status in [("GET", "/things/1", 200), ("HEAD", "/things/2", 404), ("GET", "/nowhere", 404)]:
        recorder.head(Exchange(method, path, (), "", b"", status, JSON))
    assert recorder.seen == {("GET", "/things/{id}", 200), ("GET", "/things/{id}", 404)}
    assert recorder.described is not None
    assert recorder.described.answers() - recorder.seen == {
        ("POST", "/things/{id}", 204),
        ("GET", "/things/all", 200),
    }
