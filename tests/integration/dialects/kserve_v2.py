"""How tests speak KServe's v2 protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from werkzeug.test import TestResponse

from tests.conftest import Api
from tests.integration.dialects.errors import problem as problem
from tests.integration.rest import ROW

TABLE = """
GET    /v2/health/live                                          200 200 200 200 200 200
GET    /v2/health/ready                                         400 400 400 400 400 400
GET    /v2                                                      200 200 200 200 200 401
POST   /v2/models/<name>/infer                                  200 200 403 200 200 401
POST   /v2/models/<name>/versions/<version>/infer               200 200 403 200 200 401
GET    /v2/models/<name>                                        200 200 200 200 200 401
GET    /v2/models/<name>/versions/<version>                     200 200 200 200 200 401
GET    /v2/models/<name>/ready                                  200 200 200 200 200 401
GET    /v2/models/<name>/versions/<version>/ready               200 200 200 200 200 401
GET    /v2/models/<name>/config                                 200 200 200 200 200 401
GET    /v2/models/<name>/versions/<version>/config              200 200 200 200 200 401
GET    /v2/models/stats                                         200 200 200 200 200 401
GET    /v2/models/<name>/stats                                  200 200 200 200 200 401
GET    /v2/models/<name>/versions/<version>/stats               200 200 200 200 200 401
POST   /v2/repository/index                                     200 200 200 200 200 401
POST   /v2/repository/models/<name>/load                        403 403 403 400 400 401
POST   /v2/repository/models/<name>/unload                      403 403 403 400 400 401
"""
NOT_THERE = ("/v2/nope", "/v2/models/sums/nope", "/v2/models/sums/generate", "/v2/trace/setting")
ONE_ROW = False
NO_MODEL = "there is no model 'nope'; there are: "
NO_VERSION = "sums has no version 9; there are: 1"
STATUSES: Mapping[int, int] = {409: 503, 422: 400}


def body_for(method: str, rule: str, variant: str) -> dict[str, Any]:
    return {"json": _request([ROW])} if rule.endswith("/infer") else {}


def ask(
    api: Api,
    rows: Any,
    *,
    model: str = "sums",
    version: int | None = None,
    timeout_ms: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> TestResponse:
    part = "" if version is None else f"/versions/{version}"
    body = _request(rows)
    if timeout_ms is not None:
        body["parameters"] = {"timeout": timeout_ms * 1000}
    answer: TestResponse = api.post(f"/v2/models/{model}{part}/infer", json=body, headers=dict(headers or {}))
    return answer


def rows_of(answer: TestResponse) -> Any:
    assert answer.status_code == 200, answer.text
    (output,) = answer.json["outputs"]
    return np.reshape(output["data"], output["shape"]).tolist()


def _request(rows: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": list(np.shape(rows)), "datatype": "FP32", "data": rows}]}
