"""`/`: where people begin."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect

from api.console.negotiation import API
from api.openapi.describe import no_operation

blueprint = Blueprint("index", __name__)


@blueprint.get("/")
@no_operation
def index() -> Any:
    """The list of the resources."""
    return redirect(f"{API}/", 303)
