"""Errors as Replicate says them: problem details (RFC 7807)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from api.dialects.base import in_a_sentence
from api.errors import ApiError
from api.openapi.describe import named, record

ERROR = named(
    "ReplicateError",
    record(
        {
            "detail": {"type": "string", "description": "What is wrong, and where."},
            "title": {"type": "string", "description": "What the status is called."},
            "status": {"type": "integer", "description": "The HTTP status."},
        },
        ["detail", "title", "status"],
    ),
)


def problem(error: ApiError) -> dict[str, Any]:
    """An error as its answer says it."""
    return {"detail": in_a_sentence(error), "title": HTTPStatus(error.code).phrase, "status": error.code}
