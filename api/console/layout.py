"""What every page has: its headers, who is logged in, where else to go, messages."""

from __future__ import annotations

from typing import Any

from flask import g, render_template

from api.auth import browsers
from api.auth.caller import Caller
from api.console.json_html import time_tag
from api.console.navigation import navigation_of
from api.console.operations import newest, readable
from api.console.sizes import size_text
from api.console.static_files import address
from api.responses import AlmanacResponse

HEADERS = {
    # Nothing inline, nothing from elsewhere, no form that leads away: what somebody wrote into a document cannot run.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    # With none at all browsers would say of no form where it came from.
    "Referrer-Policy": "same-origin",
    # It has what is its reader's, and the token of a session.
    "Cache-Control": "no-store",
}


def page(template: str, status: int = 200, /, **values: Any) -> AlmanacResponse:
    """A page made of a template that extends base.html."""
    caller: Caller | None = g.get("caller")
    html = render_template(
        template,
        caller=caller,
        navigation=navigation_of(caller) if caller is not None else [],
        resources=readable(caller) if caller is not None else [],
        newest=newest,
        static=address,
        time=time_tag,
        bytes=size_text,
        csrf_token=browsers.token(),
        **values,
    )
    return AlmanacResponse(html, status, HEADERS, content_type="text/html; charset=utf-8")
