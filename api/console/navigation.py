"""Where every page leads: the console's own pages, then the API's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from flask import current_app, request

from api.auth.caller import Caller
from api.auth.permissions import roles_for
from api.console.negotiation import API

#: Words, address, and the endpoint whose GET a caller must be allowed. What is not there yet is left out.
PLACES = (
    ("Overview", "/", "overview.page", "GET"),
    ("Models", "/console/models", "models_page.names", "GET"),
    ("Try it", "/console/try", "try_page.choose", "GET"),
    ("Jobs", "/console/jobs", "jobs_page.page", "GET"),
    ("Results", "/console/results", "results_page.page", "GET"),
    ("API", f"{API}/", "home", "GET"),
)


#: Resources that have pages of the console, too.
IN_CONSOLE = frozenset({"models", "jobs", "results"})


@dataclass(frozen=True, slots=True)
class Place:
    """A link of the navigation. `here` is how the present page belongs to it, in the words of aria-current."""

    words: str
    address: str
    here: Literal["page", "true"] | None = None


def navigation_of(caller: Caller) -> list[Place]:
    """The places that this caller may go to."""
    found = [
        Place(words, address, _here(address))
        for words, address, endpoint, method in PLACES
        if endpoint in current_app.view_functions and caller.role in roles_for(endpoint, method)
    ]
    return [*found, Place("Reference", "/docs")]


def _here(address: str) -> Literal["page", "true"] | None:
    path = request.path.removeprefix("/browse")
    if path == address:
        return "page"
    if path.startswith("/console/models/") and path.endswith("/try"):
        return "true" if address == "/console/try" else None
    return "true" if address != "/" and path.startswith(address.rstrip("/") + "/") else None


def console_page(resource: str, document: Mapping[str, Any] | None = None) -> str | None:
    """The page of the console about a document of the API, or about the list; None where there is none."""
    if resource not in IN_CONSOLE:
        return None
    if document is None:
        return f"/console/{resource}"
    if resource == "models":
        return f"/console/models/{quote(str(document.get('name')), safe='')}?version={document.get('version')}"
    return f"/console/{resource}/{document['_id']}"
