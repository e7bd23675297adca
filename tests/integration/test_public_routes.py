"""Deny by default: every rule and method is a 401 without a key, but for the few on the public list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.routing import Rule

from api import create_app
from api.auth.guard import PUBLIC
from api.auth.permissions import PERMISSIONS
from api.dialects import DIALECTS
from api.dialects.base import Dialect
from settings import Settings
from tests.conftest import ADMIN_KEY, Api
from tests.integration.dialects import SPOKEN, spoken_at
from tests.integration.everyone import plain

RESOURCES = ("models", "inputs", "results", "jobs", "deliveries", "keys", "users", "audit")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
#: What public routes answer other than 200.
PUBLIC_ANSWERS = {
    "/health/ready": {200, 503},
    "/v2/health/ready": {200, 400},
    "/docs/": {200, 308},
    "/login": {200, 403},
}
EXAMPLES = {
    **dict.fromkeys(("_id", "input_id", "job_id", "key_id", "result_id", "file_id"), "0" * 24),
    "name": "m",
    "version": 1,
    "alias": "stable",
    "owner": "admin",
    "version_id": "1",
    "path": "api/v1/inputs",
    "prediction": "0" * 24,
}

STATIC = (
    "bootstrap.css", "almanac.css", "console.css", "almanac.js", "upload.js", "build.js", "try.js", "draw.js",
    "review.css", "times.js", "jobs.js", "results.js", "almanac.svg",
)  # fmt: skip
PAGES = {
    "/login",
    *(f"/static/{name}" for name in STATIC),
}
CONSOLE = {
    "/",
    "/console/models",
    "/console/models/<name>",
    "/console/models/<name>/versions/<int:version>",
    "/console/models/<name>/try",
    "/console/try",
    "/console/models/<name>/truth",
    "/console/jobs",
    "/console/jobs/<ObjectId:job_id>",
    "/console/matching",
    "/console/results",
    "/console/results/<ObjectId:result_id>",
    "/console/results/<ObjectId:result_id>/image.png",
    "/console/inputs/<ObjectId:input_id>/image.png",
}
DOCS = {
    "/docs",
    "/docs/",
    *(
        f"/docs/{name}"
        for name in ("almanac.css", "almanac.js", "favicon-32x32.png", "swagger-ui.css", "swagger-ui-bundle.js")
    ),
}


def rules(api: Api) -> list[Rule]:
    return list(api.http.application.url_map.iter_rules())


def url_of(api: Api, rule: Rule) -> str:
    adapter = api.http.application.url_map.bind("localhost")
    values = {**EXAMPLES, **(rule.defaults or {})}
    return adapter.build(rule.endpoint, {name: values[name] for name in rule.arguments}, method=None)


def refused(answer: Any) -> bool:
    assert answer.status_code == 401, answer.text
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="almanac"'
    if spoken := spoken_at(answer.request.path):
        assert answer.request.method == "HEAD" or spoken.problem(answer)
    elif answer.request.method != "HEAD":
        assert answer.json["_status"] == "ERR"
        assert answer.json["_error"]["code"] == 401
    return True


@pytest.mark.parametrize("token", [None, "wrong", "user:", "root:eve"])
def test_every_rule_and_method_is_refused_without_a_valid_key(mock_api: Api, token: str | None) -> None:
    stranger = mock_api.as_caller(token)
    seen = 0
    for rule in rules(mock_api):
        url = url_of(mock_api, rule)
        for method in METHODS:
            answer = getattr(stranger, method.lower())(url)
            if rule.endpoint in PUBLIC and method in (rule.methods or ()):
                assert answer.status_code in PUBLIC_ANSWERS.get(url, {200}), (method, url)
            else:
                assert refused(answer), (method, url)
            seen += 1
    assert seen >= 8 * 18


def test_every_permission_is_for_what_there_is_and_the_other_way_round(mock_api: Api) -> None:
    there = {
        (rule.endpoint, method)
        for rule in rules(mock_api)
        if rule.endpoint not in PUBLIC
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert there - PERMISSIONS.keys() == set(), "say in api/auth/permissions.py who may do this"
    assert PERMISSIONS.keys() - there == set()
    assert all(roles for roles in PERMISSIONS.values())


@pytest.mark.parametrize("token", [ADMIN_KEY, "editor:eve", "user:alice", "reader:alice"])
def test_what_no_permission_names_is_refused_for_everyone(
    mock_client: Any, make_api: Callable[..., Api], token: str
) -> None:
    api = make_api(mock_client)
    ran: list[str] = []
    app = api.http.application
    app.add_url_rule("/api/v1/new", "new", lambda: ran.append("new") or "done", methods=["GET", "POST"])
    app.add_url_rule("/api/v1/inputs/new", "predict.default", methods=["PUT"])
    for method, path in (("get", "/api/v1/new"), ("head", "/api/v1/new"), ("options", "/api/v1/new"),
                         ("post", "/api/v1/new"), ("put", "/api/v1/inputs/new")):  # fmt: skip
        answer = getattr(api.as_caller(token), method)(path)
        assert answer.status_code == 403, (method, path)
        if method not in ("head", "options"):
            endpoint = "predict.default" if method == "put" else "new"
            message = f"nobody may do this: no permission names {method.upper()} {endpoint}"
            assert answer.json["_error"]["message"] == message
    assert ran == []


def test_a_refusal_names_the_role_that_it_takes(mock_api: Api) -> None:
    for token, method, path, words in (
        ("reader:alice", "post", "inputs", "the role reader may not do this; it takes user or editor or admin"),
        ("user:alice", "post", "models", "the role user may not do this; it takes editor or admin"),
        ("editor:eve", "get", "keys", "the role editor may not do this; it takes admin"),
    ):
        answer = getattr(mock_api.as_caller(token), method)(path)
        assert (answer.status_code, answer.json["_error"]["message"]) == (403, words)


def test_the_public_list_is_short_and_real(mock_api: Api) -> None:
    endpoints = {rule.endpoint for rule in rules(mock_api)}
    docs = {"docs.page", "docs.page_with_slash", "docs.file"}
    health = {"kserve_v2.live", "kserve_v2.ready"}
    pages = {"log_in.log_in", "static_files.file"}
    assert {"health.live", "health.ready", "openapi.document", *docs, *health, *pages} == PUBLIC <= endpoints
    public = {rule.rule for rule in rules(mock_api) if rule.endpoint in PUBLIC}
    health = {f"{prefix}/health/{kind}" for prefix in ("", "/v2") for kind in ("live", "ready")}
    assert public == {*health, "/openapi.json", *DOCS, *PAGES}


def test_the_rules_are_those_of_the_contract(mock_api: Api) -> None:
    assert {plain(rule) if spoken_at(rule.rule) else rule.rule for rule in rules(mock_api)} == {
        "/health/live",
        "/health/ready",
        "/metrics",
        "/openapi.json",
        *DOCS,
        *PAGES,
        *CONSOLE,
        "/logout",
        "/browse/<path:path>",
        "/api/v1/",
        *(f"/api/v1/{name}" for name in RESOURCES),
        *(f'/api/v1/{name}/<regex("[a-f0-9]{{24}}"):_id>' for name in RESOURCES),
        "/api/v1/webhooks/secret",
        "/api/v1/keys/<ObjectId:key_id>/rotate",
        "/api/v1/inputs/<ObjectId:input_id>/data",
        "/api/v1/jobs/<ObjectId:job_id>/events",
        "/api/v1/models/<name>/predict",
        "/api/v1/models/<name>/versions/<int:version>/predict",
        "/api/v1/models/<name>/aliases/<alias>/predict",
        *(line.split()[1] for spoken in SPOKEN.values() for line in spoken.TABLE.splitlines() if line),
    }


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/api",
        "/api/v1/nope",
        "/api/v1/inputs/x/y",
        "/static/x",
        "/api/v1//inputs",
        "/%2e%2e/etc/passwd",
        "/docs/index.html",
        "/docs/swagger-ui.js",
        "/docs/../settings.py",
        "/docs/%2e%2e/app.py",
        "/docs//swagger-ui.css",
    ],
)
def test_what_is_not_there_is_not_told_to_strangers(mock_api: Api, path: str) -> None:
    assert refused(mock_api.as_caller(None).get(path))
    answer = mock_api.get(path)
    assert (answer.status_code, answer.json["_error"]["code"]) == (404, 404)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_what_is_not_there_is_told_in_the_dialect_whose_path_it_is(mock_api: Api, dialect: Dialect) -> None:
    spoken = SPOKEN[dialect.name]
    for path in spoken.NOT_THERE:
        assert dialect.owns(path)
        assert refused(mock_api.as_caller(None).get(path))
        answer = mock_api.get(path)
        assert answer.status_code == 404
        assert path in spoken.problem(answer)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {ADMIN_KEY}",
        ADMIN_KEY,
        f"Bearer {ADMIN_KEY}x",
        f"Bearer {ADMIN_KEY[:-1]}",
        f"Bearer {ADMIN_KEY} {ADMIN_KEY}",
        f"Bearer\t{ADMIN_KEY}x",
        "Bearer é\xff",
        f"Bearer {ADMIN_KEY.upper()}",
        "Bearer " + "x" * 5000,
    ],
)
def test_only_the_key_itself_opens(mock_client: Any, tmp_path: Any, header: str | None) -> None:
    app = create_app(Settings(data_dir=tmp_path, admin_key=ADMIN_KEY, _env_file=None), mock_client)
    http = app.test_client()
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert http.get("/api/v1/inputs", headers={"Authorization": f"{scheme} {ADMIN_KEY}"}).status_code == 200
    assert refused(http.get("/api/v1/inputs", headers={} if header is None else {"Authorization": header}))
    app.extensions["service"].close()


def test_a_key_of_its_own_is_made_once_and_is_a_secret(mock_client: Any, tmp_path: Any) -> None:
    keys = set()
    for _ in range(2):
        app = create_app(Settings(data_dir=tmp_path, _env_file=None), mock_client)
        key = (tmp_path / "admin.key").read_text().strip()
        keys.add(key)
        answer = app.test_client().get("/api/v1/inputs", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        app.extensions["service"].close()
    assert len(keys) == 1
    assert (tmp_path / "admin.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if "admin" in path.name] == ["admin.key"]


def test_health(mock_api: Api, api: Api, make_api: Callable[..., Api]) -> None:
    live = mock_api.as_caller(None).get("/health/live")
    assert (live.status_code, live.json) == (200, {"live": True})
    # A service that has not begun to follow the database knows of no model yet.
    ready = api.as_caller(None).get("/health/ready")
    assert (ready.status_code, ready.json) == (
        503,
        {"ready": False, "reasons": ["the models collection was not read yet"]},
    )


def test_every_answer_carries_a_request_id(mock_api: Api) -> None:
    for caller in (mock_api, mock_api.as_caller(None)):
        for path in ("/health/live", "/nope", "/api/v1/inputs", "/api/v1/inputs?x=1"):
            answer = caller.get(path, headers={"X-Request-ID": "abc-1"})
            assert answer.headers["X-Request-ID"] == "abc-1"
            assert len(caller.get(path).headers["X-Request-ID"]) == 32
