"""The files that pages are made of, from this server alone: kept for a year under an address that has their digest."""

from __future__ import annotations

import functools
import hashlib
import re
from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, Response, request

from api.openapi.describe import no_operation
from api.responses import AlmanacResponse

blueprint = Blueprint("static_files", __name__, url_prefix="/static")

OURS = Path(__file__).parent / "static"

#: Each file with its type. A rule for each: what is not here is a path like any other that leads nowhere.
FILES = {
    "bootstrap.css": "text/css",
    "almanac.css": "text/css",
    "console.css": "text/css",
    "review.css": "text/css",
    "almanac.js": "text/javascript",
    "times.js": "text/javascript",
    "jobs.js": "text/javascript",
    "results.js": "text/javascript",
    "upload.js": "text/javascript",
    "build.js": "text/javascript",
    "try.js": "text/javascript",
    "draw.js": "text/javascript",
    "almanac.svg": "image/svg+xml",
}
DARK = re.compile(r"(?<![\w-])\[data-bs-theme=dark\][^{}]*\{[^{}]*\}")
YEAR = "public, max-age=31536000, immutable"


def address(name: str) -> str:
    """Where a page finds a file: another address where the file is another."""
    return f"/static/{name}?v={_content(name)[1]}"


@no_operation
def file(name: str) -> Response:
    """One of the files."""
    body, digest = _content(name)
    # Under another digest, or none, it may be another file after an upgrade.
    kept = YEAR if request.args.get("v") == digest else "no-cache"
    return AlmanacResponse(body, mimetype=FILES[name], headers={"Cache-Control": kept})


for _name in FILES:
    blueprint.add_url_rule(f"/{_name}", view_func=file, defaults={"name": _name}, methods=["GET"])


@functools.cache
def _content(name: str) -> tuple[bytes, str]:
    body = _bootstrap() if name == "bootstrap.css" else (OURS / name).read_bytes()
    return body, hashlib.sha256(body).hexdigest()[:16]


def _bootstrap() -> bytes:
    """Bootstrap's style, with its dark colours where the reader's system is dark: no script need say so."""
    spec = find_spec("flask_bootstrap")
    assert spec is not None
    assert spec.origin is not None
    css = (Path(spec.origin).parent / "static/bootstrap5/css/bootstrap.min.css").read_text()
    css = re.sub(r"/\*# sourceMappingURL=.*?\*/", "", css)
    dark = "".join(rule.replace("[data-bs-theme=dark]", ":root") for rule in DARK.findall(css))
    return f"{css}@media (prefers-color-scheme:dark){{{dark}}}".encode()
