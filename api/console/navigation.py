"""Where every page leads: the console's own pages, then the API's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
