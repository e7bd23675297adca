"""`jobs`: a model over a query of inputs, or a list of them, scored by the workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.auth.caller import Caller, current_caller
from api.resources.base import Resource
from api.resources.inputs import NAME_PATTERN
from ml.database.client import Document
from ml.database.documents import etag_filter
from ml.errors import NotAllowed, WrongState
from ml.service import JOB_ENDED, JOB_EVENTS, JOB_STATES, JOB_WISHES, Service

_READONLY = {"readonly": True}
#: Rows a second that a job may be held to: one a day, and more than any model gives.
MIN_RATE, MAX_RATE = 1e-5, 1e9


class Jobs(Resource):
    name = "jobs"
    schema = {
        "model": {"type": "string", "required": True, "regex": NAME_PATTERN, "immutable": True},
        "version": {"type": "integer", "min": 1, "max": 2**31, "immutable": True, "excludes": "alias"},
        "alias": {"type": "string", "regex": NAME_PATTERN, "immutable": True},
        "where": {"type": "dict", "filter_over": "inputs", "immutable": True, "excludes": "inputs"},
        "inputs": {
            "type": "list",
            "minlength": 1,
            "maxlength": 10_000,
            "schema": {"type": "objectid"},
            "immutable": True,
        },
        "priority": {"type": "integer", "min": 0, "max": 9},
        "follow": {"type": "boolean", "immutable": True},
        "max_rows_per_second": {"type": "number", "min": MIN_RATE, "max": MAX_RATE, "nullable": True},
        "max_attempts": {"type": "integer", "min": 1, "max": 100, "immutable": True},
        "webhook": {
            "type": "dict",
            "schema": {
                "url": {"type": "string", "required": True, "webhook_target": True},
                "events": {
                    "type": "list",
                    "minlength": 1,
                    "schema": {"type": "string", "allowed": list(JOB_EVENTS)},
                    "distinct": True,
                },
            },
            "immutable": True,
        },
        "status": {"type": "string", "allowed": list(JOB_WISHES), "on_update_only": True},
        "progress": {
            "type": "dict",
            "schema": {
                "total": {"type": "integer"},
                "done": {"type": "integer"},
                "failed": {"type": "integer"},
                "rows_per_second": {"type": "number"},
            },
            **_READONLY,
        },
        "attempts": {"type": "integer", **_READONLY},
        "worker": {"type": "string", **_READONLY},
        "started": {"type": "datetime", **_READONLY},
        "ended": {"type": "datetime", **_READONLY},
        "error": {"type": "string", **_READONLY},
        "request": {"type": "string", **_READONLY},
        "owner": {"type": "string", **_READONLY},
    }
    resource_methods = ["GET", "POST"]
    item_methods = ["GET", "PATCH", "DELETE"]
    # Progress moves without a new entity tag, so a 304 would hide it.
    conditional = False

    def before_insert(self, service: Service, document: Document, caller: Caller) -> None:
        _check_model(caller, document["model"])
        service.jobs.prepare(document, caller.owner, caller.scope("inputs"))

    def update(
        self, service: Service, before: Mapping[str, Any], changes: dict[str, Any], scope: Mapping[str, Any]
    ) -> Document | None:
        if before.get("status") not in JOB_STATES:
            raise WrongState("the job has no state: it was not made by Almanac, and can only be deleted")
        if changes.get("status") == "queued":
            _check_model(current_caller(), before["model"])
        return service.jobs.update(before, changes)

    def remove(self, service: Service, before: Mapping[str, Any], scope: Mapping[str, Any]) -> bool:
        status = before.get("status")
        if status in JOB_STATES and status not in JOB_ENDED:
            raise WrongState(f"the job is {status}; it can be deleted when it has ended: cancel it first")
        service.webhooks.take_notes(before["_id"])
        seen = {"_id": before["_id"], "status": status, **etag_filter(before["_etag"])}
        return service.db["jobs"].delete_one(seen).deleted_count == 1


def _check_model(caller: Caller, model: str) -> None:
    """Raise NotAllowed where the caller's key is not for this model."""
    if not caller.may_use(model):
        raise NotAllowed(f"this key is not for the model {model!r}")
