"""Documents for pages, read through the API in the name of who looks at the page."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from bson import ObjectId

from api.auth.caller import current_caller
from api.auth.permissions import roles_for
from api.console.inner import Answered, Sent, ask
from api.console.negotiation import API
from api.errors import ApiError
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
    """One document; None where there is none that the caller may see. Raises ApiError where it cannot be told."""
    answered = get(f"{resource}/{id_}", **asked)
    if answered.status not in (200, 404):
        raise ApiError(answered.status, *issues_of(answered))
    return answered.json if answered.status == 200 else None


def versions(**where: Any) -> list[dict[str, Any]]:
    """The newest versions of models that match, those of names that the caller may use."""
    shown = dict.fromkeys(OF_VERSIONS, 1)
    found = listed("models", where=where, sort="-_id", max_results=MOST_VERSIONS, projection=shown)["_items"]
    return [one for one in found if current_caller().may_use(str(one.get("name")))]


def version_of(name: Any, number: Any) -> dict[str, Any]:
    """One version of a model; an empty object where there is none, or what is asked for is no name or number."""
    if not isinstance(name, str) or not isinstance(number, int):
        return {}
    shown = dict.fromkeys(OF_VERSIONS, 1)
    return next(iter(listed("models", where={"name": name, "version": number}, projection=shown)["_items"]), {})


def listed(resource: str, **asked: Any) -> dict[str, Any]:
    """A list, as the API answers it. Raises ApiError where it cannot be told."""
    answered = get(resource, **asked)
    if answered.status != 200:
        raise ApiError(answered.status, *issues_of(answered))
    found: dict[str, Any] = answered.json
    return found


def issues_of(answered: Answered) -> tuple[str, dict[str, str]]:
    """Why the API refused, and what is wrong with which field."""
    body = answered.json
    issues = {name: str(reason) for name, reason in body.get("_issues", {}).items()}
    return body.get("_error", {}).get("message", "it was refused"), issues


def number(text: str | None, most: int) -> int:
    """A whole number of an address, 1 to `most`; 1 where it is none."""
    return min(max(int(text), 1), most) if text and text.isascii() and text.isdigit() and len(text) < 10 else 1
