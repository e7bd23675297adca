"""Leases by the database's clock: what makes one process at a time work on a document, and lets another take over."""

from __future__ import annotations

from typing import Any


def until(seconds: float) -> dict[str, Any]:
    """The expression for a time so many seconds from now, by the database's clock."""
    return {"$add": ["$$NOW", int(seconds * 1000)]}


def expired(field: str) -> dict[str, Any]:
    """The filter for documents whose lease in `field` ran out, or which never had one."""
    return {"$expr": {"$lt": [{"$ifNull": [f"${field}", 0]}, "$$NOW"]}}
