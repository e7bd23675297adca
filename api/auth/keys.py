"""The admin key: read or made once, and compared in constant time."""

from __future__ import annotations

import hmac
import os
import secrets
import tempfile
from pathlib import Path
from typing import Protocol

from api.auth.caller import Caller

KEY_FILE = "admin.key"


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
    path = directory / KEY_FILE
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = "alm_" + secrets.token_urlsafe(32)
    descriptor, partial = tempfile.mkstemp(dir=directory, prefix=".admin-")
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(partial, path)  # never over the key that another process made meanwhile
    except FileExistsError:
        key = path.read_text().strip()
    finally:
        Path(partial).unlink()
    return key
