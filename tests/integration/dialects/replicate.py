"""How tests speak Replicate's protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import pytest
from werkzeug.test import TestResponse

from tests.conftest import Api
from tests.integration.dialects import replicate_files

TABLE = replicate_files.TABLE
AUDITED = replicate_files.AUDITED
NOT_THERE = replicate_files.NOT_THERE
STATUSES: Mapping[int, int] = {}
NO_MODEL = NO_VERSION = ""


def body_for(method: str, rule: str, variant: str) -> dict[str, Any]:
    return replicate_files.body_for(method, rule)


def ask(api: Api, rows: Any, **_: Any) -> NoReturn:
    pytest.skip("there are no predictions here yet")


def rows_of(answer: TestResponse) -> NoReturn:
    raise NotImplementedError


def problem(answer: TestResponse) -> str:
    assert answer.mimetype == "application/json"
    assert answer.json.keys() == {"title", "detail", "status"}, answer.text
    assert answer.json["status"] == answer.status_code
    text: str = answer.json["detail"]
    assert text
    return text
