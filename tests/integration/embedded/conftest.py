"""Directories for embedded MongoDBs, and a mongod to start: missing, it fails in CI and skips elsewhere."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.database.embedded import EmbeddedError
from ml.database.embedded.binary import find_mongod


@pytest.fixture(scope="session", autouse=True)
def _mongod() -> None:
    try:
        find_mongod()
    except EmbeddedError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """With a path short enough for a socket, and removed at once: each holds some 300 MB of journal."""
    directory = Path(tempfile.mkdtemp(prefix="alm-"))
    yield directory
    shutil.rmtree(directory)
