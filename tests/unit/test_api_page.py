"""docs/api.md is what the OpenAPI document says, and says it of every operation, field and status."""

from __future__ import annotations

import re
from typing import Any

import pytest

from api.openapi import document
from api.openapi.page import page
from api.openapi.wording import type_of
from tests.snapshots.renew import API_PAGE, page_text, plain_app


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return document(plain_app())


def test_the_page_is_up_to_date() -> None:
    assert API_PAGE.read_text() == page_text(), "run `python -m tests.snapshots.renew` and look at the diff"


def test_it_has_every_operation_parameter_field_and_status(openapi: dict[str, Any]) -> None:
    text = page(openapi)
    rows: dict[str, str] = {}
    for row in text.splitlines():
        rows.setdefault(row.split(" | ")[0].removeprefix("| "), row)
    for path, item in openapi["paths"].items():
        for method in item.keys() - {"parameters"}:
            row = rows[f"`{method.upper()} {path}`"]
            for status in item[method]["responses"].keys() - {"400", "401", "500", "503"}:
                assert re.search(rf"\b{status}\b", row.rpartition(" | ")[2]), (row, status)
    for parameter in openapi["components"]["parameters"].values():
        assert f"`{parameter['name']}`" in text
    for name in ("Model", "Input", "Result", "Job", "Delivery", "PredictRows", "PredictInputs", "PredictForm"):
        for field in openapi["components"]["schemas"][name]["properties"]:
            assert f"| `{field}` | " in text, (name, field)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 1000}, "whole number, 0 to 1,000"),
        ({"type": ["number", "null"], "minimum": 1e-5, "maximum": 1e9}, "number, 0.00001 to 1,000,000,000 or null"),
        ({"type": "array", "items": {"anyOf": [{"type": "object"}, {"type": "null"}]}}, "list of (object or null)"),
        ({"type": "object", "additionalProperties": {"$ref": "#/components/schemas/ObjectId"}}, "object of id"),
        ({"$ref": "#/components/schemas/JobCreate"}, "job create"),
        ({"type": "string", "enum": ["a", None]}, "`a` `null`"),
        ({"type": "string", "format": "date-time"}, "time"),
        ({}, "any JSON"),
    ],
)
def test_a_type_in_words(schema: dict[str, Any], words: str) -> None:
    assert type_of(schema) == words
