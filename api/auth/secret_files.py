"""Secrets that are files of the data directory: each is made once, and read from then on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def secret_in(directory: Path, name: str, make: Callable[[], str]) -> str:
    """The secret in `directory`/`name`, which is made (mode 0600) where there is none."""
    path = directory / name
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = make()
    descriptor, partial = tempfile.mkstemp(dir=directory, prefix=f".{name}-")
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(partial, path)  # never over the one that another process made meanwhile
    except FileExistsError:
        secret = path.read_text().strip()
    finally:
        Path(partial).unlink()
    return secret
