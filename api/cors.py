"""Which other origins' pages may read answers: those that are named exactly; without any, nothing is said of it."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Flask, Response, request
from flask_cors import CORS

#: What a page may send, and see of an answer, beyond what browsers always allow.
SENT = (
    "Authorization",
    "Cancel-After",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Prefer",
    "X-Request-ID",
)
SHOWN = (
    "ETag", "Idempotency-Replayed", "Location", "Preference-Applied", "RateLimit-Limit", "RateLimit-Policy",
    "RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "X-Request-ID",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
#: How long a browser remembers what it may do, in seconds.
REMEMBERED = 600


def allow(app: Flask, origins: Sequence[str]) -> None:
    """Let pages of these origins read answers. To be called before `protect`: a browser asks first, without a key."""

    def answer_preflight() -> Response | None:
        asked = request.environ
        if asked["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in asked:
            # Flask-CORS says what is allowed: to other origins nothing.
            return Response(status=204) if "HTTP_ORIGIN" in asked else None
        return None

    app.before_request(answer_preflight)
    # No credentials: that is what browsers call cookies, of which there are none.
    CORS(
        app, origins=list(origins), methods=list(METHODS), allow_headers=list(SENT), expose_headers=list(SHOWN),
        supports_credentials=False, always_send=False, max_age=REMEMBERED, vary_header=True,
    )  # fmt: skip
