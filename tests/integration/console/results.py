"""Results and inputs for tests of pages, as the service stores them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from ml.database.documents import stamp_new

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def result(at: float = 0, owner: str = "admin", **fields: Any) -> dict[str, Any]:
    """A result, so many seconds after the first."""
    made: dict[str, Any] = {"_id": ObjectId(), "model": "sums", "version": 1, "status": "succeeded"}
    return stamp_new({**made, "output": {"y": [0.2, 0.8]}, **fields}, owner, BEGAN + timedelta(seconds=at))


def insert_result(db: Database[dict[str, Any]], at: float = 0, **fields: Any) -> str:
    """Store one; its id."""
    made = result(at, **fields)
    db["results"].insert_one(made)
    return str(made["_id"])


def insert_input(db: Database[dict[str, Any]], data: Any, owner: str = "admin", **fields: Any) -> ObjectId:
    """Store an input; its id."""
    made = stamp_new({"_id": ObjectId(), "data": data, "source": "rest", **fields}, owner)
    db["inputs"].insert_one(made)
    id_: ObjectId = made["_id"]
    return id_
