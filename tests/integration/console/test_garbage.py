"""Documents of other programs, with anything in them, have pages too, and their forms work."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Decimal128
from bson.int64 import Int64
from bson.min_key import MinKey

from ml.database.client import database_of
from tests.integration.console.browser import Visitor
from tests.integration.rest import Client
from tests.integration.test_garbage import GARBAGE

pytestmark = pytest.mark.shown_as_stored

ODD: list[dict[str, Any]] = [
    {}, {"_id": 5}, {"_id": "x"}, {"_id": {"a": 1}}, {"status": 5, "state": [1], "progress": "x", "timing": 5},
    {"output": 5, "score": Decimal128("1"), "input": 5, "job": [1], "inputs": 5, "outputs": {"a": 1}},
    {"output": {"y": {"dtype": 5, "shape": 5, "data": 5}}, "where": {"$where": "1"}, "classes": 5, "build": []},
    {"started": "x", "ended": 5, "_created": [], "truth": {"a": MinKey()}, "error": 5, "version": Int64(2**60)},
    {"name": [1], "version": {"a": 1}, "model": 5, "aliases": {"a": [1]}, "description": 5, "webhook": 5, "tags": "x"},
    {"_id": "</pre><script>", "note": "x" * 5000, "truth": [[[1, [2]]]], "url": 5, "event": [[]], "owner": 5},
]  # fmt: skip


def test_inputs_of_other_programs(visitor: Visitor, client: Client) -> None:
    inputs = database_of(client)["inputs"]
    ids = inputs.insert_many([dict(garbage) for garbage in GARBAGE]).inserted_ids
    for query in ("", "?sort=-meta&count=true", "?projection=%7B%22data%22:1%7D"):
        page = visitor.page(f"/api/v1/inputs{query}")
        assert page.status == 200
        assert page.source.count("<tr>") == len(GARBAGE) + 1
    for id_ in ids:
        page = visitor.page(f"/api/v1/inputs/{id_}")
        assert page.status == 200
        page = visitor.sent(page.form("patch-fields"), {"f.tags": "x"})
        assert "Saved." in page.text
        assert visitor.sent(page.form("delete-button")).status == 200
    assert inputs.count_documents({}) == 0


@pytest.mark.parametrize("resource", ["models", "results", "jobs", "deliveries", "keys", "users"])
def test_other_documents_of_other_programs(visitor: Visitor, client: Client, resource: str) -> None:
    documents = [
        {"name": f"n{number}", "version": number, "hash": f"h{number}", **odd} for number, odd in enumerate(ODD)
    ]
    database_of(client)[resource].insert_many(documents)
    listed = visitor.page(f"/api/v1/{resource}?sort=-_id")
    assert listed.status == 200
    assert listed.source.count("<tr>") == len(ODD) + 1
    assert "<script>" not in listed.source
    for _, href in listed.links:
        if href.startswith(f"/api/v1/{resource}/"):
            page = visitor.page(href)
            assert page.status == 200, href


PLAIN = {"state": "available", "version": 1}


@pytest.mark.parametrize("common", [{}, PLAIN, {**PLAIN, "executor": "stub"}, {**PLAIN, "state": "failed"}])
def test_the_console_over_documents_of_other_programs(visitor: Visitor, client: Client, common: dict[str, Any]) -> None:
    db = database_of(client)
    more: list[dict[str, Any]] = [
        {"build": {"table": [{"ms": 5, "ok": True, "rows": "x"}, 5], "ways": [5], "log": 5, "seconds": "x"}},
        {"inputs": [{"name": "x", "dtype": "FP32", "shape": "x"}], "outputs": [5], "aliases": [5], "classes": ["a", 5]},
        {"inputs": [{"name": "x", "dtype": "none", "shape": [2]}], "outputs": [], "size": "x", "description": 5},
        {"inputs": [{"name": "x", "dtype": "FP32", "shape": ["a"]}], "outputs": [], "_created": 5, "error": [5]},
    ]
    db["models"].insert_many(
        [{"name": f"n{number}", **odd, **common} for number, odd in enumerate([*ODD, *more]) if "name" not in odd]
    )
    for name in ("results", "jobs"):
        db[name].insert_many([{"model": "n1", "version": 1, **odd} for odd in [*ODD, {"status": "failed"}]])
    assert visitor.page("/").status == 200
    page = visitor.page("/console/models")
    assert page.status == 200
    for _, href in page.links:
        if href.startswith("/console/models/"):
            page = visitor.page(href)
            assert page.status in ((200, 409) if href.endswith("/try") else (200,)), href
            assert "<script>alert" not in page.source
    assert visitor.page("/console/try").status == 200
