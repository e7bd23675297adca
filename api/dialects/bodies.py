"""Bodies as other servers' clients send them: perhaps compressed, and with whatever type."""

from __future__ import annotations

import zlib

from flask import current_app, request

from api.errors import ApiError

#: Content-Encoding to what zlib wants to know of it. A deflated body has zlib's header, or should have.
WBITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

#: The level of compression: what is saved beyond takes longer than to send it.
FAST = 1


def body() -> bytes:
    """The body of this request, decompressed. Raises 413 where it is larger than it may be then, 400, 415."""
    return decompressed(
        request.get_data(),
        request.environ.get("HTTP_CONTENT_ENCODING", ""),
        current_app.config["MAX_CONTENT_LENGTH"],
    )


def compressible(accepted: str) -> str | None:
    """How an answer is to be compressed by an Accept-Encoding: only where nothing else is asked for."""
    accepted = accepted.strip().lower()
    return accepted if accepted in ("gzip", "deflate") else None


def compressed(data: bytes, accepted: str) -> tuple[bytes, list[tuple[str, str]]]:
    """An answer as it is sent, and its headers."""
    encoding = compressible(accepted)
    if encoding is None:
        return data, []
    stream = zlib.compressobj(FAST, wbits=WBITS[encoding])
    return stream.compress(data) + stream.flush(), [("Content-Encoding", encoding), ("Vary", "Accept-Encoding")]


def decompressed(data: bytes, encoding: str, most: int) -> bytes:
    """What `data` was before it was compressed, of `most` bytes at most. Raises as `body`."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return data
    if encoding not in WBITS:
        raise ApiError(415, f"expected Content-Encoding gzip or deflate, got {encoding[:100]}")
    try:
        return _inflated(data, WBITS[encoding], most)
    except zlib.error as error:
        if encoding == "deflate":  # some clients leave zlib's header out
            try:
                return _inflated(data, -zlib.MAX_WBITS, most)
            except zlib.error:
                pass
        raise ApiError(400, f"the body is not {encoding}: {error}") from None


def _inflated(data: bytes, wbits: int, most: int) -> bytes:
    stream = zlib.decompressobj(wbits)
    # Never more than is allowed, and a little to see that there is more: a few bytes may stand for gigabytes.
    made = stream.decompress(data, most + 1)
    if len(made) > most:
        raise ApiError(413, f"the body is larger than is allowed here: more than {most} bytes without its compression")
    if not stream.eof:
        raise zlib.error("it ends early")
    if stream.unused_data:
        raise zlib.error("it goes on after its end")
    return made
