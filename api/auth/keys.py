"""The admin key: read or made once, and compared in constant time."""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path
from typing import Protocol

from api.auth.caller import Caller
from api.auth.secret_files import secret_in

KEY_FILE = "admin.key"
SECRET_FILE = "secret.key"  # noqa: S105 # nosec B105 # its name, not what is in it


class Authenticator(Protocol):
    """Tells who holds a Bearer token."""

    def authenticate(self, token: str) -> Caller | None:
        """The caller, or None where the token is nobody's."""


class AdminKey:
    """One key, whose holder may do everything."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._caller = Caller("admin", "admin")

    def authenticate(self, token: str) -> Caller | None:
        """The admin for the key; the time that it takes tells nothing of the key but its length."""
        given = token.encode("utf-8", "surrogateescape")
        return self._caller if hmac.compare_digest(given, self._key) else None


def admin_key_in(directory: Path) -> str:
    """The key in `directory`/admin.key, which is made (mode 0600) where there is none."""
    return secret_in(directory, KEY_FILE, lambda: "alm_" + secrets.token_urlsafe(32))


def signing_secret_in(directory: Path) -> str:
    """The secret in `directory`/secret.key that signs sessions, which is made (mode 0600) where there is none."""
    return secret_in(directory, SECRET_FILE, lambda: secrets.token_urlsafe(48))
