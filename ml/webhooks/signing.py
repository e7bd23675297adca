"""Signatures as Standard Webhooks has them: HMAC-SHA256 over id, time and body, with a secret of 32 bytes."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence

SECRET_BYTES = 32
PREFIX = "whsec_"


def shown(secret: bytes) -> str:
    """A secret as its owner sees it, and as libraries of Standard Webhooks take it."""
    return PREFIX + base64.b64encode(secret).decode()


def headers(id_: str, timestamp: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The headers that prove a message: one signature for each secret that is valid now. `timestamp` in seconds."""
    signed = f"{id_}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in secrets)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
