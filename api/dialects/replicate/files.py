"""Files that were uploaded for predictions."""

from __future__ import annotations


def read(url: str) -> tuple[bytes, str] | None:  # noqa: ARG001
    """Content and content type of a file of the caller's own that the URL names; None where it names none."""
    return None
