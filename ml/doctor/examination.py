"""The order of an examination: the machine first, then the database, then the documents in it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

from pymongo.database import Database

from ml.database.client import Document
from ml.doctor import database, executors, files, indexes, jobs, models, place
from ml.doctor.findings import Finding, guarded


def of_machine(data_dir: Path, *, embedded: bool) -> Generator[Finding, None, executors.Here]:
    """The data directory and the executors. Returns what can be run here."""
    yield from guarded("data directory", place.examine(data_dir, embedded=embedded))
    return (yield from executors.examine())


def of_database(db: Database[Document], here: executors.Here) -> Iterator[Finding]:
    """The database and, where it can be read, the documents. Nothing is made or repaired."""
    if not (yield from database.examine(db)):
        return
    yield from guarded("indexes", indexes.examine(db))
    yield from guarded("models", _models(db, here))
    yield from guarded("jobs", jobs.examine(db))


def _models(db: Database[Document], here: executors.Here) -> Iterator[Finding]:
    found = models.read(db)
    yield from guarded("models", models.examine(db, found, here))
    yield from guarded("model files", files.examine(db, found))
