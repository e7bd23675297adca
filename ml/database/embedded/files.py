"""The files of a data directory: where each is, and how one that holds a secret is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataFiles:
    """The paths in one data directory. `root` is absolute and resolved: mongod's command line is searched for it."""

    root: Path

    @property
    def db(self) -> Path:
        """What mongod owns."""
        return self.root / "db"

    @property
    def db_lock(self) -> Path:
        """The file on which mongod holds a flock() while it has the files open."""
        return self.db / "mongod.lock"

    @property
    def key(self) -> Path:
        """The replica set's key file; its text is also the password of `__system`."""
        return self.root / "mongod.key"

    @property
    def root_password(self) -> Path:
        return self.root / "root.pw"

    @property
    def user_password(self) -> Path:
        return self.root / "almanac.pw"

    @property
    def uri(self) -> Path:
        """There while the MongoDB can be used, and only then."""
        return self.root / "mongo.uri"

    @property
    def log(self) -> Path:
        return self.root / "mongod.log"

    @property
    def lock(self) -> Path:
        """The file that says which Almanac holds the directory."""
        return self.root / "almanac.lock"

    @property
    def version(self) -> Path:
        """The version of the mongod that last opened the files."""
        return self.root / "mongod.version"


def write_private(path: Path, text: str) -> None:
    """Put `text` at `path`, mode 0600: a reader, and a start after a crash, finds the old file or the whole new one."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)  # left by a crash: only the holder of the directory writes here
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def made_once(path: Path, make: Callable[[], str]) -> str:
    """The text at `path`, made by `make` the first time. A mode too wide is put right: mongod refuses such a key."""
    if not path.exists():
        write_private(path, make())
    elif path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return path.read_text()
