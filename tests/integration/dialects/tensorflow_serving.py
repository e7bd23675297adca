"""How tests speak TensorFlow Serving's REST API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from werkzeug.test import TestResponse

from tests.conftest import Api
from tests.integration.dialects.errors import problem as problem

TABLE = """
GET    /v1/models/<name>                                        200 200 200 200 200 401
GET    /v1/models/<name>/versions/<version>                     200 200 200 200 200 401
GET    /v1/models/<name>/labels/<alias>                         200 200 200 200 200 401
GET    /v1/models/<name>/metadata                               200 200 200 200 200 401
GET    /v1/models/<name>/versions/<version>/metadata            200 200 200 200 200 401
GET    /v1/models/<name>/labels/<alias>/metadata                200 200 200 200 200 401
POST   /v1/models/<name>:predict                                200 200 403 200 200 401
POST   /v1/models/<name>/versions/<version>:predict             200 200 403 200 200 401
POST   /v1/models/<name>/labels/<alias>:predict                 200 200 403 200 200 401
POST   /v1/models/<name>:classify                               400 400 403 400 400 401
POST   /v1/models/<name>/versions/<version>:classify            400 400 403 400 400 401
POST   /v1/models/<name>/labels/<alias>:classify                400 400 403 400 400 401
POST   /v1/models/<name>:regress                                400 400 403 400 400 401
POST   /v1/models/<name>/versions/<version>:regress             400 400 403 400 400 401
POST   /v1/models/<name>/labels/<alias>:regress                 400 400 403 400 400 401
"""
NOT_THERE = ("/v1/models/sums/versions/one", "/v1/models/sums/labels/stable/nope")
#: Operations that cannot succeed in tests/integration/test_schemathesis.py, whose model gives several numbers.
NEVER_RIGHT = tuple(
    f"POST /v1/models/{{name}}{which}:regress" for which in ("", "/versions/{version}", "/labels/{alias}")
)
#: Parts of paths with which a view is the same as without: what is drawn there for one is enough.
ALIKE = ("/versions/{version}", "/labels/{alias}")
ONE_ROW = False
NO_MODEL = "Servable not found for request: Latest(nope)"
NO_VERSION = "Servable not found for request: Specific(sums, 9)"
STATUSES: Mapping[int, int] = {409: 404, 415: 400, 422: 400}


def body_for(method: str, rule: str, variant: str) -> dict[str, Any]:
    # `sums` has no classes and gives two numbers: it can be asked to predict, and no more.
    return {"json": {"instances": [[1, 2, 3]]}} if method == "POST" else {}


def ask(
    api: Api,
    rows: Any,
    *,
    model: str = "sums",
    version: int | None = None,
    timeout_ms: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> TestResponse:
    which = f"/versions/{version}" if version is not None else ""
    data = json.dumps({"instances": rows})
    # As curl -d sends it.
    sent = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    answer: TestResponse = api.post(f"/v1/models/{model}{which}:predict", data=data, headers=sent)
    return answer


def rows_of(answer: TestResponse) -> Any:
    assert answer.status_code == 200, answer.text
    assert list(answer.json) == ["predictions"]
    return answer.json["predictions"]
