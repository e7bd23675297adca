"""An error of the console's own pages: what is wrong, and what can be done."""

from __future__ import annotations

from flask import request

from api.console import layout
from api.console.advice import advice_for
from api.console.inner import Answered
from api.responses import AlmanacResponse

TITLES = {
    403: "You may not do this",
    404: "There is nothing here",
    405: "This cannot be done here",
    413: "This is too large",
    429: "Too many requests",
    503: "Not available now",
}


def error_page(answered: Answered) -> AlmanacResponse:
    """The page of an answer that is an error."""
    body = answered.json
    body = body if isinstance(body, dict) else {}
    message = body.get("_error", {}).get("message", "")
    status = answered.status
    return layout.page(
        "error.html",
        status,
        title=TITLES.get(status, "It did not work"),
        message=f"{message[:1].upper()}{message[1:]}",
        issues=body.get("_issues", {}),
        advice=advice_for(status),
        again=request.full_path.rstrip("?") if request.method in ("GET", "HEAD") and status >= 429 else None,
    )
