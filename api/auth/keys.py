"""The administrator's key: read, or made once."""

from __future__ import annotations

import secrets
from pathlib import Path

from api.auth.secret_files import secret_in

KEY_FILE = "admin.key"
SECRET_FILE = "secret.key"  # noqa: S105 # nosec B105 # its name, not what is in it


def admin_key_in(directory: Path) -> str:
    """The key in `directory`/admin.key, which is made (mode 0600) where there is none."""
    return secret_in(directory, KEY_FILE, lambda: "alm_" + secrets.token_urlsafe(32))


def signing_secret_in(directory: Path) -> str:
    """The secret in `directory`/secret.key that signs sessions, which is made (mode 0600) where there is none."""
    return secret_in(directory, SECRET_FILE, lambda: secrets.token_urlsafe(48))
