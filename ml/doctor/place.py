"""The data directory: whether it is there, can be written, and has room."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ml.database.embedded.files import DataFiles
from ml.doctor.findings import Finding, ok, warning, wrong

GB = 10**9
#: Below this nothing goes on; a mongod stops by itself when its disk is full.
LEAST_BYTES = 1 * GB
#: Both of these: a small share of a large disk is no concern.
FEW_BYTES, SMALL_SHARE = 5 * GB, 0.05


def examine(data_dir: Path, *, embedded: bool) -> Iterator[Finding]:
    """`embedded`: the database's own files are there too."""
    if not data_dir.is_dir():
        yield _missing(data_dir)
        return
    try:
        with tempfile.TemporaryFile(dir=data_dir) as file:
            file.write(b"x")
        yield ok("data directory", f"{data_dir} can be written")
    except OSError as error:
        yield wrong(
            "data directory",
            f"{data_dir} cannot be written: {error.strerror}",
            "give it to the user that runs Almanac (chown, chmod), or name another one in ALMANAC_DATA_DIR",
        )
    yield room(data_dir)
    files = DataFiles(data_dir.resolve()).db
    if embedded and files.is_dir() and files.stat().st_dev != data_dir.stat().st_dev:
        yield room(files)


def room(directory: Path) -> Finding:
    """How much is free where `directory` lies."""
    about = "free disk"
    usage = shutil.disk_usage(directory)
    share = usage.free / usage.total if usage.total else 0.0
    found = f"{usage.free / GB:,.1f} GB ({share:.0%}) at {directory}"
    advice = (
        "make room: uploads, builds and the embedded database write there (data/cache may be deleted while stopped)"
    )
    if usage.free < LEAST_BYTES:
        return wrong(about, found, advice)
    if usage.free < FEW_BYTES and share < SMALL_SHARE:
        return warning(about, found, advice)
    return ok(about, found)


def _missing(data_dir: Path) -> Finding:
    about = "data directory"
    if data_dir.exists() or data_dir.is_symlink():
        return wrong(about, f"{data_dir} is no directory", "remove it, or name another one in ALMANAC_DATA_DIR")
    return warning(
        about,
        f"{data_dir} is not there yet",
        "start the server once, which makes it; or name the right one in ALMANAC_DATA_DIR",
    )
