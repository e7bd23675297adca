"""How tests speak KServe's v2 protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from werkzeug.test import TestResponse

TABLE = """
GET    /v2/health/live                                          200 200 200 200 200 200
GET    /v2/health/ready                                         400 400 400 400 400 400
"""
NOT_THERE = ("/v2/nope", "/v2/models/sums/nope")
STATUSES: Mapping[int, int] = {409: 503, 422: 400}


def body_for(method: str, rule: str, variant: str) -> dict[str, Any]:
    return {}


def problem(answer: TestResponse) -> str:
    assert answer.mimetype == "application/json"
    assert list(answer.json) == ["error"], answer.text
    text: str = answer.json["error"]
    assert text
    return text
