"""`/`: what happens here now."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, request

from api.console import layout
from api.console.negotiation import API, wants_page
from api.openapi.describe import no_operation

blueprint = Blueprint("overview", __name__, template_folder="templates")


@blueprint.get("/")
@no_operation
def page() -> Any:
    """The overview; programs are led to the API."""
    if not wants_page(request.environ):
        return redirect(f"{API}/", 303)
    return layout.page("overview.html")
