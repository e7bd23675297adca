"""`deliveries`: what the webhooks of jobs were told, or could not be; a PATCH sends one again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.openapi.describe import Act
from api.resources.base import Resource, described
from ml.database.client import Document
from ml.service import JOB_EVENTS, Service

_READONLY = {"readonly": True}


class Deliveries(Resource):
    name = "deliveries"
    singular = "delivery"
    about = "What the webhook of a job was told of one event, or could not be."
    schema = {
        "job": {"type": "objectid", **_READONLY, **described("The job.")},
        "event": {"type": "string", "allowed": list(JOB_EVENTS), **_READONLY, **described("What happened.")},
        "url": {"type": "string", **_READONLY, **described("Where it is sent.")},
        "attempt": {"type": "integer", **_READONLY, **described("How often it was tried.")},
        "status": {
            "type": "string",
            "allowed": ["queued"],
            **described(
                "Whether it arrived. Write `queued` to send it again.",
                stored={"enum": ["queued", "delivered", "failed"]},
            ),
        },
        "next_at": {"type": "datetime", **_READONLY, **described("When it is tried next, while it is queued.")},
        "response_code": {"type": "integer", **_READONLY, **described("What the receiver answered last.")},
        "error": {"type": "string", **_READONLY, **described("Why the last attempt failed.")},
        "owner": {"type": "string", **_READONLY, **described("Whose job it is.")},
    }
    item_methods = ["GET", "PATCH"]
    newest = "_created"
    columns = ("event", "job", "status", "attempt", "response_code", "url", "owner")
    example = {
        "_id": "6b00e4c0d035a01704bf37d1",
        "job": "6b00e4c0d035a01704bf37c1",
        "event": "succeeded",
        "url": "https://example.com/almanac",
        "attempt": 1,
        "status": "delivered",
        "response_code": 204,
        "owner": "admin",
        "_created": "2026-01-01T12:00:01.000Z",
        "_updated": "2026-01-01T12:00:01.250Z",
        "_etag": "5d1b3a0e7c2f49d8b6e1a4c7",
    }
    acts = {
        "change": Act(
            summary="Send a delivery again",
            errors={409: "It is queued already."},
            examples={"again": {"status": "queued"}},
        )
    }

    def steps(self, document: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        return {"Send again": {"status": "queued"}} if document.get("status") != "queued" else {}

    def update(
        self, service: Service, before: Mapping[str, Any], changes: dict[str, Any], scope: Mapping[str, Any]
    ) -> Document | None:
        return service.webhooks.send_again(before, scope) if "status" in changes else dict(before)
