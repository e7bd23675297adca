"""What every answer carries for browsers, which hosts and origins are heard, and that programs get no cookies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from api.edge import Edge
from tests.conftest import Api
from tests.integration.rest import ROW, URL, Client, stored, upload

POLICY = "default-src 'none'; frame-ancestors 'none'"
APP = "https://app.example.com"
TYPE = {"Content-Type": "application/json"}


def predict(api: Api, **headers: str) -> TestResponse:
    return api.post(URL, data=json.dumps({"instances": [ROW]}), headers={**TYPE, **headers})


def several(api: Api) -> list[TestResponse]:
    """Answers of every kind: of Eve, of routes, of the error handlers, before Flask, without a body."""
    made = api.post("inputs", json={"data": [1]})
    path = f"inputs/{made.json['_id']}"
    return [
        made,
        predict(api, Prefer="chocolate"),
        predict(api),
        api.get("inputs"),
        api.get("inputs", headers={"Accept": "application/x-ndjson"}),
        api.get(path),
        api.get(path, headers={"If-None-Match": made.json["_etag"]}),
        api.get(f"{path}/data"),
        api.head("inputs"),
        api.options("inputs"),
        api.get("nothing"),
        api.post("inputs", data="{"),
        api.put(path),
        api.get("inputs?x=1"),
        api.as_caller(None).get("inputs"),
        api.as_caller(None).get("/health/live"),
        api.as_caller(None).get("/health/ready"),
        api.get("/metrics"),
        api.get("webhooks/secret"),
        upload(api, b"no picture"),
    ]


def test_every_answer_has_the_headers_once(api: Api, serve: Callable[..., Any]) -> None:
    serve()
    answers = several(api)
    assert {answer.status_code for answer in answers} >= {200, 201, 304, 400, 401, 404, 405, 415, 422}
    for answer in answers:
        assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]
        assert answer.headers.getlist("Content-Security-Policy") == [POLICY]
        assert answer.headers.getlist("Referrer-Policy") == ["no-referrer"]
        assert answer.headers.getlist("Server") == [""]
        kept = "private, no-cache" if "ETag" in answer.headers else "no-store"
        assert answer.headers.getlist("Cache-Control") == [kept]
        assert "Strict-Transport-Security" not in answer.headers
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_no_answer_to_a_program_sets_a_cookie_and_no_made_up_one_lets_anybody_in(
    api: Api, client: Client, serve: Callable[..., Any]
) -> None:
    serve()
    assert not any("Set-Cookie" in answer.headers for answer in several(api))
    before = stored(client, "inputs")
    key = api.headers["Authorization"].removeprefix("Bearer ")
    stranger = api.as_caller(None)
    for cookie in (f"key={key}", f"almanac={key}", f"session={key}", f"Authorization=Bearer {key}"):
        for method, path in (("get", "inputs"), ("post", "inputs"), ("delete", f"inputs/{before[0]['_id']}")):
            answer = getattr(stranger, method)(path, headers={"Cookie": cookie, **TYPE}, data='{"data": [1]}')
            assert answer.status_code == 401
    assert stored(client, "inputs") == before


def test_a_header_that_is_there_is_left_as_it_is() -> None:
    own = [("content-security-policy", "script-src 'self'"), ("CACHE-CONTROL", "max-age=5"), ("server", "x")]
    seen: list[Any] = []
    edge = Edge(lambda environ, start: start("200 OK", own) or [b""])  # type: ignore[arg-type,func-returns-value]
    for _ in range(2):
        edge({}, lambda status, headers, *_: seen.append(headers))  # type: ignore[arg-type,typeddict-item]
    assert seen[0] == seen[1] == [*own, ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]


def test_with_tls_browsers_are_told_to_stay_with_it(client: Client, make_api: Callable[..., Api]) -> None:
    api = make_api(client, tls_cert="cert.pem", tls_key="key.pem")
    for answer in (api.get("inputs"), api.as_caller(None).get("/health/live"), api.get("nothing")):
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("almanac.example.com", True),
        ("almanac.example.com:8000", True),
        ("ALMANAC.example.com", True),
        ("a.example.org", True),
        ("a.b.example.org:443", True),
        ("example.org", True),
        ("[::1]:8000", True),
        ("evil.example", False),
        ("almanac.example.com.evil.example", False),
        ("evilexample.org", False),
        ("evilalmanac.example.com", False),
        ("sub.almanac.example.com", False),
        ("almanac.example.com@evil.example", False),
        ("almanac.example.com:99999", False),
        ("127.0.0.1", False),
        ("", False),
    ],
)
def test_only_trusted_hosts_are_answered_for(
    client: Client, stub: Callable[..., Any], make_api: Callable[..., Api], host: str, trusted: bool
) -> None:
    stub(client)
    api = make_api(client, trusted_hosts="almanac.example.com, .example.org,[::1]")
    for _ in range(2):
        for answer in (api.get("inputs", headers={"Host": host}), predict(api, Host=host)):
            assert answer.status_code == (200 if trusted else 400)
            if not trusted:
                assert answer.json["_error"] == {"code": 400, "message": "the request is for another host"}
                assert answer.json["_issues"] == {"Host": f"{host!r} is none of this server's"}
                assert answer.headers["X-Request-ID"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
    # Those who ask for health know an address, not a name.
    assert api.as_caller(None).get("/health/live", headers={"Host": host}).status_code == 200


def test_a_host_that_a_proxy_names_is_not_believed(client: Client, make_api: Callable[..., Api]) -> None:
    api = make_api(client, trusted_hosts="almanac.example.com")
    headers = {
        "Host": "evil.example",
        "X-Forwarded-Host": "almanac.example.com",
        "Forwarded": "host=almanac.example.com",
    }
    assert api.get("inputs", headers=headers).status_code == 400


def cross(api: Api, origin: str, path: str = "inputs", **more: str) -> TestResponse:
    return api.get(path, headers={"Origin": origin, **more})


def preflight(api: Api, origin: str, path: str = URL, method: str = "POST", headers: str = "authorization") -> Any:
    return api.as_caller(None).options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": headers,
        },
    )


def test_pages_of_named_origins_may_read_answers(
    client: Client, stub: Callable[..., Any], make_api: Callable[..., Api]
) -> None:
    stub(client)
    api = make_api(client, cors_origins=f"{APP}, http://localhost:3000", rate_limit="1000/minute")
    predict(api)
    answers = [cross(api, APP), predict(api, Origin=APP), cross(api, APP, "nothing"), cross(api.as_caller(None), APP)]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 401]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == APP
        assert "Origin" in answer.headers["Vary"]
        assert "RateLimit-Remaining" in answer.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
    answer = preflight(api, APP, headers="authorization, content-type, x-secret")
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert answer.headers["Access-Control-Max-Age"] == "600"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example", "null", "http://app.example.com", "https://app.example.com:8443",
        "https://app.example.com.evil.example", "https://sub.app.example.com", "https://appxexample.com", "*", "",
    ],
)  # fmt: skip
def test_pages_of_other_origins_may_not(
    client: Client, stub: Callable[..., Any], make_api: Callable[..., Api], origin: str
) -> None:
    stub(client)
    api = make_api(client, cors_origins=APP)
    predict(api)
    for answer in (cross(api, origin), predict(api, Origin=origin), preflight(api, origin)):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_without_named_origins_a_preflight_is_refused_as_all_else_without_a_key(api: Api) -> None:
    answer = preflight(api, APP)
    assert answer.status_code == 401
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_no_header_makes_another_method_of_a_request(api: Api, client: Client, header: str) -> None:
    made = api.post("inputs", json={"data": [1]}).json
    path, match = f"inputs/{made['_id']}", {"If-Match": "*", header: "DELETE"}
    assert api.post(path, headers=match).status_code == 405
    assert api.get(path, headers=match).status_code == 200
    assert api.patch(path, json={"tags": ["a"]}, headers=match).json["tags"] == ["a"]
    assert api.post("inputs", json={"data": [2]}, headers={header: "GET"}).status_code == 201
    assert api.post(f"{path}?_method=DELETE", headers=match).status_code == 405
    assert len(stored(client, "inputs")) == 2
