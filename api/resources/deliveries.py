"""`deliveries`: what the webhooks of jobs were told, or could not be; a PATCH sends one again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.resources.base import Resource
from ml.database.client import Document
from ml.service import JOB_EVENTS, Service

_READONLY = {"readonly": True}


class Deliveries(Resource):
    name = "deliveries"
    schema = {
        "job": {"type": "objectid", **_READONLY},
        "event": {"type": "string", "allowed": list(JOB_EVENTS), **_READONLY},
        "url": {"type": "string", **_READONLY},
        "attempt": {"type": "integer", **_READONLY},
        "status": {"type": "string", "allowed": ["queued"]},
        "next_at": {"type": "datetime", **_READONLY},
        "response_code": {"type": "integer", **_READONLY},
        "error": {"type": "string", **_READONLY},
        "owner": {"type": "string", **_READONLY},
    }
    item_methods = ["GET", "PATCH"]

    def update(
        self, service: Service, before: Mapping[str, Any], changes: dict[str, Any], scope: Mapping[str, Any]
    ) -> Document | None:
        return service.webhooks.send_again(before, scope) if "status" in changes else dict(before)
