"""Documents for pages, read through the API in the name of who looks at the page."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from bson import ObjectId

from api.auth.caller import current_caller
from api.auth.permissions import roles_for
from api.console.inner import Answered, Sent, ask
from api.console.negotiation import API
from api.render import dumps

#: Versions that a page offers to choose among, the newest.
MOST_VERSIONS = 200
OF_VERSIONS = ("name", "version", "state", "aliases", "classes", "inputs", "outputs", "description")


def may(endpoint: str, method: str) -> bool:
    """Whether the role of who looks at the page may do this."""
    return current_caller().role in roles_for(endpoint, method)


def get(path: str, **asked: Any) -> Answered:
    """An answer of the API; what is asked is JSON where it is no text."""
    query = {name: value if isinstance(value, str) else dumps(value).decode().strip() for name, value in asked.items()}
    return ask(Sent("GET", f"{API}/{path}", urlencode(query)))


def send(method: str, path: str, body: Any, **headers: str) -> Answered:
    """Have the API do something; `If_Match` is the header If-Match."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(Sent(method, f"{API}/{path}", body=dumps(body).rstrip(), headers=named))


def document(resource: str, id_: ObjectId | str, **asked: Any) -> dict[str, Any] | None:
    """One document; None where there is none that the caller may see."""
    answered = get(f"{resource}/{id_}", **asked)
    return answered.json if answered.status == 200 else None


def versions(**where: Any) -> list[dict[str, Any]]:
    """The newest versions of models that match, those of names that the caller may use."""
    shown = dict.fromkeys(OF_VERSIONS, 1)
    answered = get("models", where=where, sort="-_id", max_results=MOST_VERSIONS, projection=shown)
    found = answered.json.get("_items", [])
    return [one for one in found if current_caller().may_use(str(one.get("name")))]


def version_of(name: Any, number: Any) -> dict[str, Any]:
    """One version of a model; an empty object where there is none, or what is asked for is no name or number."""
    if not isinstance(name, str) or not isinstance(number, int):
        return {}
    return next(iter(get("models", where={"name": name, "version": number}).json.get("_items", [])), {})


def issues_of(answered: Answered) -> tuple[str, dict[str, str]]:
    """Why the API refused, and what is wrong with which field."""
    body = answered.json
    issues = {name: str(reason) for name, reason in body.get("_issues", {}).items()}
    return body.get("_error", {}).get("message", "it was refused"), issues
