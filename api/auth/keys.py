"""The administrator's key: read, or made once."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

KEY_FILE = "admin.key"


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
