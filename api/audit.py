"""What of a request goes into the audit: who sent it, from where, under which id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from flask import Flask, Response, g, request
from werkzeug.routing import Rule

from api.auth.caller import Caller, current_caller
from api.auth.credentials import shown_by
from api.openapi.paths import path_of
from ml.audit.entries import Entry
from ml.audit.refusals import Refusal
from ml.identity.failures import network_of
from ml.service import Service

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Answers of requests that were refused, whoever asked.
REFUSED = frozenset({401, 403, 429})


def entry_for(
    action: str, resource: str | None, status: int, changed: Iterable[str] = (), caller: Caller | None = None
) -> Entry:
    """The entry of what this request writes, for its caller where no other is given."""
    address = request.environ.get("REMOTE_ADDR") or None
    who = by(caller if caller is not None else current_caller())
    return Entry(action, resource, who, address, g.request_id, status, tuple(sorted(changed)))


def by(caller: Caller) -> dict[str, Any]:
    """Who asks."""
    found = {"owner": caller.owner, "role": caller.role, "via": caller.via}
    if caller.prefix is not None:
        found["key"] = caller.prefix
    if caller.proof is not None and ObjectId.is_valid(caller.proof):
        return {**found, "id": ObjectId(caller.proof)}
    return found


def register(app: Flask) -> None:
    """Note every request that is refused. Registered before what may make another answer of one."""
    service: Service = app.extensions["service"]

    def note(response: Response) -> Response:
        if response.status_code in REFUSED:
            caller, id_ = g.get("caller"), g.get("request_id", "")
            note_refusal(service, request.environ, response.status_code, caller, id_, request.url_rule)
        return response

    app.after_request(note)


def note_refusal(
    service: Service, environ: WSGIEnvironment, status: int, caller: Caller | None, request_id: str, rule: Rule | None
) -> None:
    """Count a request that was refused; it is written down in the background."""
    address = network_of(environ.get("REMOTE_ADDR") or "")
    target = None if rule is None else f"{environ['REQUEST_METHOD']} {path_of(rule)}"
    if caller is not None:
        service.refusals.note(Refusal(status, address, by(caller), request_id, target))
        return
    via, name = shown_by(environ)
    # Once there were too many, whatever name is tried is one more of these.
    service.refusals.note(Refusal(status, address, {"via": via}, request_id, target, name if status == 401 else None))
