"""The same for servers that run as processes: what they answer is compared with the document that they answer."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import requests

from tests.recorded.client import RECORDER
from tests.recorded.recorder import Exchange, media_type


def recorded(response: requests.Response, server: str) -> requests.Response:
    """The response, compared with the document; of one that is read as a stream, the head."""
    RECORDER.use(lambda: requests.get(f"{server}/openapi.json", timeout=30).json())
    request = response.request
    url, sent = urlsplit(request.url or ""), request.body or b""
    exchange = Exchange(
        request.method or "",
        unquote(url.path),
        tuple(name for name, _ in parse_qsl(url.query)),
        media_type(request.headers),
        sent.encode() if isinstance(sent, str) else sent,
        response.status_code,
        response.headers,
    )
    # What was not read yet is the test's to read.
    if RECORDER.head(exchange) and response._content_consumed:  # type: ignore[attr-defined]
        RECORDER.body(exchange, response.content)
    return response
