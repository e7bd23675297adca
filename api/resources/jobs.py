"""`jobs`: a model over a query of inputs, or a list of them, scored by the workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.auth.caller import current_caller
from api.openapi.describe import Act
from api.resources.base import Resource, described
from api.resources.inputs import NAME_PATTERN
from ml.audit.entries import Entry
from ml.database.client import Document
from ml.database.documents import etag_filter
from ml.errors import NotAllowed, WrongState
from ml.identity.caller import Caller
from ml.service import JOB_CHANGES, JOB_ENDED, JOB_EVENTS, JOB_STATES, JOB_WISHES, Service

_READONLY = {"readonly": True}
#: Rows a second that a job may be held to: one a day, and more than any model gives.
MIN_RATE, MAX_RATE = 1e-5, 1e9


class Jobs(Resource):
    name = "jobs"
    singular = "job"
    about = "A model over a query of inputs, or over a list of them, scored by the workers."
    schema = {
        "model": {
            "type": "string",
            "required": True,
            "regex": NAME_PATTERN,
            "immutable": True,
            **described("The model's name."),
        },
        "version": {
            "type": "integer",
            "min": 1,
            "max": 2**31,
            "immutable": True,
            "excludes": "alias",
            **described("The version; where nothing is said, that of the alias, or the default one, now."),
        },
        "alias": {"type": "string", "regex": NAME_PATTERN, "immutable": True, **described("An alias of the version.")},
        "where": {
            "type": "dict",
            "filter_over": "inputs",
            "immutable": True,
            "excludes": "inputs",
            **described("Which inputs; those that predict stored only where it names `source`."),
        },
        "inputs": {
            "type": "list",
            "minlength": 1,
            "maxlength": 10_000,
            "schema": {"type": "objectid"},
            "immutable": True,
            **described("Which inputs: their ids."),
        },
        "priority": {"type": "integer", "min": 0, "max": 9, **described("9 goes first; 5 where nothing is said.")},
        "follow": {
            "type": "boolean",
            "immutable": True,
            **described("Whether it goes on with every input that comes to match, until it is canceled."),
        },
        "max_rows_per_second": {
            "type": "number",
            "min": MIN_RATE,
            "max": MAX_RATE,
            "nullable": True,
            **described("The most rows in a second; null: no limit."),
        },
        "max_attempts": {
            "type": "integer",
            "min": 1,
            "max": 100,
            "immutable": True,
            **described("Workers that may die in a row without finishing a chunk; 3 where nothing is said."),
        },
        "webhook": {
            "type": "dict",
            "schema": {
                "url": {
                    "type": "string",
                    "required": True,
                    "webhook_target": True,
                    **described("An http or https URL."),
                },
                "events": {
                    "type": "list",
                    "minlength": 1,
                    "schema": {"type": "string", "allowed": list(JOB_EVENTS)},
                    "distinct": True,
                    **described("What it is told of; all of these where nothing is said."),
                },
            },
            "immutable": True,
            **described("Who is told what becomes of the job."),
        },
        "status": {
            "type": "string",
            "allowed": list(JOB_WISHES),
            "on_update_only": True,
            **described(
                "Its state. By PATCH: queued or running to paused or canceled, paused to queued or canceled, an ended "
                "one to queued, which runs what is missing or failed.",
                stored={"enum": list(JOB_STATES)},
            ),
        },
        "progress": {
            "type": "dict",
            "schema": {
                "total": {"type": "integer", "nullable": True, **described("Rows; null until they are counted.")},
                "done": {"type": "integer", **described("Rows that have a result.")},
                "failed": {"type": "integer", **described("Rows of these that failed.")},
                "rows_per_second": {"type": "number", "nullable": True, **described("How fast it goes.")},
            },
            **_READONLY,
            **described("How far it is; it moves without another `_etag`."),
        },
        "attempts": {
            "type": "integer",
            **_READONLY,
            **described("Workers that died in a row without finishing a chunk."),
        },
        "worker": {"type": "string", **_READONLY, **described("Who works on it.")},
        "started": {"type": "datetime", **_READONLY, **described("When a worker first took it.")},
        "ended": {"type": "datetime", **_READONLY, **described("When it ended.")},
        "error": {"type": "string", **_READONLY, **described("Why it could not run at all.")},
        "request": {
            "type": "string",
            **_READONLY,
            **described("The X-Request-ID of the predict that made it, if one did."),
        },
        "protocol": {
            "type": "string",
            **_READONLY,
            **described("By which other server's protocol it was asked for, if it was."),
        },
        "cancel_at": {
            "type": "datetime",
            **_READONLY,
            **described("When it is canceled if it has not ended by then."),
        },
        "overdue": {"type": "boolean", **_READONLY, **described("Whether it was canceled for that.")},
        "owner": {"type": "string", **_READONLY, **described("Whose it is.")},
    }
    resource_methods = ["GET", "POST"]
    item_methods = ["GET", "PATCH", "DELETE"]
    newest = "_created"
    columns = ("model", "version", "status", "progress", "priority", "owner")
    # Progress moves without a new entity tag, so a 304 would hide it.
    conditional = False
    example = {
        "_id": "6b00e4c0d035a01704bf37c1",
        "model": "iris",
        "version": 1,
        "where": {"tags": "garden"},
        "priority": 5,
        "max_attempts": 3,
        "status": "succeeded",
        "progress": {"total": 150, "done": 150, "failed": 0, "rows_per_second": 1502.2},
        "attempts": 0,
        "started": "2026-01-01T12:00:00.000Z",
        "ended": "2026-01-01T12:00:01.000Z",
        "owner": "admin",
        "_created": "2026-01-01T12:00:00.000Z",
        "_updated": "2026-01-01T12:00:01.000Z",
        "_etag": "b1946ac92492d2347c6235b4",
    }
    acts = {
        "create": Act(
            summary="Submit a job, or several",
            errors={
                404: "There is no such model, version or alias, or no such input; the message names what there is.",
                409: "The version failed or is retired; or the Idempotency-Key belongs to another request.",
            },
            examples={
                "filter": {"model": "iris", "where": {"tags": "garden"}},
                "list": {"model": "iris", "version": 1, "inputs": ["6b00e4c0d035a01704bf37b4"], "priority": 9},
                "follow": {
                    "model": "iris",
                    "alias": "stable",
                    "where": {"tags": "live"},
                    "follow": True,
                    "webhook": {"url": "https://example.com/almanac", "events": ["failed", "canceled"]},
                },
            },
        ),
        "read": Act(
            description="With `Prefer: wait=30` it answers when the job has ended, or after that many seconds.",
            headers=("Prefer-Wait",),
            answers=("Preference-Applied",),
        ),
        "change": Act(
            summary="Steer a job",
            errors={409: "From the state in which the job is it cannot come to that one; the message names both."},
            examples={"cancel": {"status": "canceled"}, "faster": {"priority": 9, "max_rows_per_second": None}},
        ),
        "delete": Act(
            description="Once it has ended. Its results stay.", errors={409: "The job has not ended: cancel it first."}
        ),
    }

    def steps(self, document: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        current = document.get("status")
        again = "Resume" if current == "paused" else "Run again what is missing or failed"
        words = {"queued": again, "paused": "Pause", "canceled": "Cancel"}
        return {words[wish]: {"status": wish} for wish in JOB_CHANGES.get(str(current), ())}

    def allows(self, service: Service, document: Mapping[str, Any], caller: Caller, method: str) -> bool:
        if document.get("status") not in JOB_STATES:
            return method == "DELETE"
        return method != "DELETE" or document["status"] in JOB_ENDED

    def before_insert(self, service: Service, document: Document, caller: Caller) -> None:
        _check_model(caller, document["model"])
        service.jobs.prepare(document, caller.owner, caller.scope("inputs"))

    def update(
        self,
        service: Service,
        before: Mapping[str, Any],
        changes: dict[str, Any],
        scope: Mapping[str, Any],
        entry: Entry | None = None,
    ) -> Document | None:
        if before.get("status") not in JOB_STATES:
            raise WrongState("the job has no state: it was not made by Almanac, and can only be deleted")
        if changes.get("status") == "queued":
            _check_model(current_caller(), before["model"])
        return service.jobs.update(before, changes, entry)

    def remove(
        self, service: Service, before: Mapping[str, Any], scope: Mapping[str, Any], entry: Entry | None = None
    ) -> bool:
        status = before.get("status")
        if status in JOB_STATES and status not in JOB_ENDED:
            raise WrongState(f"the job is {status}; it can be deleted when it has ended: cancel it first")
        service.webhooks.take_notes(before["_id"])
        seen = {"_id": before["_id"], "status": status, **etag_filter(before["_etag"])}
        return service.jobs.remove(seen, entry)


def _check_model(caller: Caller, model: str) -> None:
    """Raise NotAllowed where the caller's key is not for this model."""
    if not caller.may_use(model):
        raise NotAllowed(f"this key is not for the model {model!r}")
