"""/docs: Swagger UI over /openapi.json, from this server alone; a file that has no line here is not served."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from flask import Blueprint, Response, redirect, send_file

from api.openapi.describe import no_operation

blueprint = Blueprint("docs", __name__)

OURS = Path(__file__).parent.parent / "docs_ui"
#: The package is there for these files; its own page has a script within the HTML, which the policy below forbids.
SWAGGER_UI = Path(str(resources.files("flask_swagger_ui"))) / "dist"

#: What /docs is made of, with its type. They are named here rather than looked up: the system's table may differ.
FILES = {
    "almanac.css": (OURS, "text/css"),
    "almanac.js": (OURS, "text/javascript"),
    "favicon-32x32.png": (SWAGGER_UI, "image/png"),
    "swagger-ui.css": (SWAGGER_UI, "text/css"),
    "swagger-ui-bundle.js": (SWAGGER_UI, "text/javascript"),
}

HEADERS = {
    # Nothing inline, nothing from elsewhere: a text in the document that turned out to be a script would not run.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Kept, but asked for anew each time, which a 304 answers: after an upgrade no old file meets a new one.
    "Cache-Control": "no-cache",
}


@blueprint.get("/docs")
@no_operation
def page() -> Response:
    """The page; its links are relative to it, so that it may lie below any path of a proxy."""
    return _send(OURS / "index.html", "text/html")


@blueprint.get("/docs/")
@no_operation
def page_with_slash() -> Response:
    """The page is at /docs."""
    return redirect("../docs", 308)  # type: ignore[return-value]  # Flask's redirect makes a response of Werkzeug's


@no_operation
def file(name: str) -> Response:
    """One of the files that the page is made of."""
    directory, kind = FILES[name]
    return _send(directory / name, kind)


# A rule for each, rather than one with a variable: what is not here is a path like any other that leads nowhere.
for _name in FILES:
    blueprint.add_url_rule(f"/docs/{_name}", view_func=file, defaults={"name": _name}, methods=["GET"])


def _send(path: Path, kind: str) -> Response:
    response = send_file(path, kind)
    response.headers.update(HEADERS)
    return response
