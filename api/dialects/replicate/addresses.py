"""Whole URLs of what is here: Replicate's clients want no others, and give them back as they got them."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from flask import request

_PORTS = {"http": ":80", "https": ":443"}


def url_of(path: str, **query: str) -> str:
    """The URL of a path, by the name that this request has for the server."""
    root = request.root_path.rstrip("/")
    asked = f"?{urlencode(query)}" if query else ""
    return f"{_scheme()}://{request.host}{quote(root + path)}{asked}"


def _scheme() -> str:
    # A proxy that ends TLS says so. Anybody can, but for the answer to their own request alone; and a client that came
    # by TLS is never sent away from it, with its key.
    return "https" if request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https" else request.scheme


def path_in(url: str) -> str | None:
    """The path in a URL that is this server's by the name that this request has for it; None for any other URL."""
    if not re.match(r"https?://", url, re.IGNORECASE):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    # By which of both it is reached may be a proxy's affair.
    root = request.root_path.rstrip("/")
    if _host(parts) != request.host.lower() or not parts.path.startswith(f"{root}/"):
        return None
    return parts.path.removeprefix(root)


def _host(parts: SplitResult) -> str:
    return parts.netloc.lower().removesuffix(_PORTS[parts.scheme])
