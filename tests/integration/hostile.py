"""What the hostile tests share: an app whose collections are not empty, and what every answer must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient
from werkzeug.test import TestResponse

from api.resources import RESOURCES as TABLE
from ml.database.client import database_of
from tests.conftest import Api

Client = MongoClient[dict[str, Any]]
RESOURCES = tuple(TABLE)
ID = "65a0c0ffee65a0c0ffee65a0"


@pytest.fixture
def full(api: Api, client: Client, stub: Callable[..., Any]) -> Api:
    """An app whose collections each hold a document with the id that the requests use."""
    db = database_of(client)
    stub(client)
    db["models"].update_one({}, {"$set": {"description": "d"}})
    db["inputs"].insert_one({"_id": ObjectId(ID), "data": [1, 2, 3], "tags": ["a"], "meta": {"a": [1, {"b": "c"}]}})
    db["results"].insert_one({"_id": ObjectId(ID), "input": ObjectId(ID), "output": {"y": [1.0]}, "label": "a"})
    db["jobs"].insert_one({"_id": ObjectId(ID), "model": "sums", "version": 1, "status": "queued", "fence": 0})
    return api


def stored(client: Client) -> dict[str, Any]:
    db = database_of(client)
    # But for entries of the audit for requests that were refused, which come in the background.
    lasting = {"action": {"$ne": "refuse"}}
    return {name: list(db[name].find(lasting).sort("_id", 1)) for name in (*RESOURCES, "registry", "files.files")}


def check(answer: TestResponse) -> TestResponse:
    """An answer is a success, or an error of the 400s in the contract's shape."""
    assert answer.status_code < 500, answer.text
    assert answer.headers["X-Request-ID"]
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        body = answer.json
        assert body["_status"] == "ERR"
        assert body["_error"].keys() == {"code", "message"}
        assert body["_error"]["code"] == answer.status_code
        assert isinstance(body["_error"]["message"], str)
        assert body.keys() <= {"_status", "_error", "_issues", "_items"}
        for issues in (body.get("_issues", {}), *(item.get("_issues", {}) for item in body.get("_items", []))):
            assert all(isinstance(reason, str) and reason for reason in issues.values())
            assert "exception" not in issues
        assert "Traceback" not in answer.text
        assert "$clusterTime" not in answer.text
    return answer
