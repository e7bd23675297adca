"""What the body of a prediction asks for, read strictly: a version, an input, who is to be told of what."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from flask import request

from api.dialects.predicting import the_service
from api.errors import ApiError
from api.requests import json_body, refuse_secrets
from ml.tensors.values import describe

FIELDS = ("version", "input", "webhook", "webhook_completed", "webhook_events_filter", "stream")
#: What a webhook can be told of, and what happens to the job then. The output is there when it has completed, so that
#: both are told at once; there are no logs.
EVENTS: Mapping[str, tuple[str, ...]] = {
    "start": ("started",),
    "output": ("succeeded",),
    "logs": (),
    "completed": ("succeeded", "failed", "canceled"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a prediction."""

    #: None where the path has the model.
    version: str | None
    input: Any
    #: As a job has it.
    webhook: dict[str, Any] | None
    #: Of the body, whatever the order of its fields.
    digest: str


def read_asked(id_: str | None = None, *, versioned: bool = True) -> Asked:
    """The body of this request, which may repeat the prediction's own id and, `versioned`, names the version.

    Raises 415, or 422 with what does not fit.
    """
    body = json_body()
    refuse_secrets(request.get_data())
    if not isinstance(body, dict):
        raise ApiError(422, "the body is an object", {"body": f"expected an object, got {describe(body)}"})
    known = [name for name in FIELDS if versioned or name != "version"]
    issues: dict[str, str] = {}
    for name in body:
        if name == "id" and id_ is not None:
            if body["id"] != id_:
                issues["id"] = f"expected that of the path, {id_!r}, got {describe(body['id'])}"
        elif name not in known:
            issues[name] = f"no such field; there are {', '.join(known)}"
    version = body.get("version")
    if versioned and not isinstance(version, str):
        issues["version"] = f"expected a string, got {describe(version) if 'version' in body else 'nothing'}"
    if not isinstance(body.get("stream"), (bool, type(None))):
        issues["stream"] = f"expected true or false, got {describe(body['stream'])}"
    webhook = _webhook(body, issues)
    if issues:
        raise ApiError(422, "the prediction does not fit", issues)
    same = {name: value for name, value in body.items() if name != "id"}
    digest = hashlib.sha256(orjson.dumps(same, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Asked(version if versioned else None, body.get("input", {}), webhook, digest)


def _webhook(body: Mapping[str, Any], issues: dict[str, str]) -> dict[str, Any] | None:
    """Who is told what; None where nobody is told anything."""
    wanted = body.get("webhook_events_filter")
    if wanted is None:
        wanted = list(EVENTS)
    if not isinstance(wanted, list) or not all(isinstance(event, str) and event in EVENTS for event in wanted):
        issues["webhook_events_filter"] = f"expected a list of some of {', '.join(EVENTS)}, got {_came(wanted)}"
        return None
    field = "webhook"
    if body.get(field) is None and body.get("webhook_completed") is not None:
        field, wanted = "webhook_completed", ["completed"]
    url = body.get(field)
    if url is None:
        return None
    if not isinstance(url, str):
        issues[field] = f"expected a URL, got {describe(url)}"
    elif problem := the_service().webhooks.problem(url):
        issues[field] = problem
    events = list(dict.fromkeys(event for name in wanted for event in EVENTS[name]))
    return {"url": url, "events": events} if events else None


def _came(value: Any) -> str:
    return ", ".join(map(describe, value[:10])) if isinstance(value, list) else describe(value)
