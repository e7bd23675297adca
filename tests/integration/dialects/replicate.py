"""How tests speak Replicate's API: a prediction is one row, and a job gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from werkzeug.test import TestResponse

from tests.conftest import Api
from tests.integration.dialects import replicate_files
from tests.integration.jobs import working
from tests.integration.rest import ROW

TABLE = """
POST   /v1/predictions                                          201 201 403 201 201 401
POST   /v1/models/<owner>/<name>/predictions                    201 201 403 201 201 401
POST   /v1/deployments/<owner>/<name>/predictions               201 201 403 201 201 401
GET    /v1/predictions                                          200 200 200 200 200 401
GET    /v1/predictions/<prediction>                             200 404 200 404 200 401
PUT    /v1/predictions/<prediction>                             409 201 403 201 201 401
POST   /v1/predictions/<prediction>/cancel                      200 404 403 404 200 401
GET    /v1/predictions/<prediction>/stream                      200 404 200 404 200 401
GET    /v1/webhooks/default/secret                              200 200 200 200 200 401
"""
TABLE += replicate_files.TABLE
#: Lines that leave an entry in the audit: what makes a job.
AUDITED = frozenset(
    {
        "POST /v1/predictions",
        "POST /v1/models/<owner>/<name>/predictions",
        "POST /v1/deployments/<owner>/<name>/predictions",
        "PUT /v1/predictions/<prediction>",
    }
).union(replicate_files.AUDITED)
NOT_THERE = ("/v1/predictions/nope/logs", "/v1/deployments", "/v1/webhooks/default", "/v1/files/x/y/z")
#: The row of a prediction is one, and what becomes of it is told by the prediction, not by a status.
ONE_ROW = True
#: Operations that are the same but for what is in the path.
ALIKE = ("}/predictions",)
NO_MODEL = "there is no model 'nope'; there are: "
NO_VERSION = "sums has no version 9; there are: 1"
STATUSES: Mapping[int, int] = {}


def body_for(method: str, rule: str, variant: str) -> dict[str, Any]:
    if rule == "/v1/files":
        return replicate_files.body_for(method, rule)
    if method in ("GET", "DELETE") or rule.endswith("/cancel"):
        return {}
    named = {} if "<name>" in rule else {"version": "sums"}
    return {"json": {**named, "input": {"x": ROW}}}


def ask(
    api: Api,
    rows: Any,
    *,
    model: str = "sums",
    version: int | None = None,
    timeout_ms: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> TestResponse:
    asked = model if version is None else f"{model}:{version}"
    body = {"version": asked, "input": {"x": rows[0] if len(rows) == 1 else rows}}
    wait = "wait" if timeout_ms is None else f"wait={-(-timeout_ms // 1000)}"
    with working(api.http.application.extensions["service"]):
        answer: TestResponse = api.post("/v1/predictions", json=body, headers={"Prefer": wait, **(headers or {})})
    return answer


def rows_of(answer: TestResponse) -> Any:
    assert answer.status_code == 201, answer.text
    assert answer.json["status"] == "succeeded", answer.text
    return [answer.json["output"]]


def problem(answer: TestResponse) -> str:
    assert answer.mimetype == "application/json"
    assert list(answer.json) == ["detail", "title", "status"], answer.text
    assert answer.json["status"] == answer.status_code
    assert answer.json["title"]
    text: str = answer.json["detail"]
    assert text
    return text
