"""A version that is loaded in this process, and how it gets there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo.database import Database

from ml.batcher import MAX_BATCH, QUEUE_LIMIT, Batcher, Sink
from ml.database.blobs import Blobs
from ml.database.client import Document
from ml.executors import load_executor
from ml.executors.base import Executor, ExecutorError
from ml.processor import here
from ml.signature import Signature
from ml.versions import Version
from ml.ways import ways_here

log = logging.getLogger(__name__)


@dataclass(slots=True)
class LiveModel:
    """A loaded version: its signature, and the batcher that owns its executor."""

    version: Version
    signature: Signature
    batcher: Batcher
    #: What runs it here.
    executor: str
    #: Monotonic time of its last use; set without a lock, so it may be a little off.
    used: float = 0.0

    @property
    def classes(self) -> list[str] | None:
        classes: list[str] | None = self.version.document.get("classes")
        return classes

    @property
    def facts(self) -> dict[str, Any]:
        """What every result says of the model that made it."""
        document = self.version.document
        return {
            "model": self.version.name,
            "version": self.version.number,
            "digest": document.get("digest"),
            "executor": self.executor,
        }


class Loader:
    """Fetches a version's artefact, loads it and warms it."""

    def __init__(
        self,
        db: Database[Document],
        cache: Path,
        sink: Sink,
        max_batch: int = MAX_BATCH,
        queue_limit: int = QUEUE_LIMIT,
        forced: str | None = None,
    ) -> None:
        self._forced = forced
        self._blobs = Blobs(db)
        self._cache = cache
        self._sink = sink
        self._max_batch = max_batch
        self._queue_limit = queue_limit

    def open(self, version: Version) -> LiveModel:
        """Load an available version. Blocks. Raises ExecutorError where it cannot be run here, and PyMongoError."""
        signature = Signature.from_document(version.document)
        kind, executor = self._load(version, signature)
        try:
            executor.warm()
        except Exception as error:
            # Zeros are no proof of anything: the build has proven the model on better rows.
            log.warning("%s:%d failed on zeros", version.name, version.number, exc_info=error)
        batcher = Batcher(
            executor, self._sink, *version.key, self._max_batch, self._queue_limit, window=version.batch_window
        )
        return LiveModel(version, signature, batcher, kind)

    def _load(self, version: Version, signature: Signature) -> tuple[str, Executor]:
        """The best executor that can be had here: another where one is not installed, or does not load."""
        reasons = []
        for way in ways_here(version.document, here(), self._forced):
            directory = self._cache / str(way.artefact)
            if not directory.is_dir():
                self._blobs.fetch_directory(way.artefact, directory)
            try:
                return way.executor, load_executor(way.executor, directory, signature, way.threads)
            except ExecutorError as error:
                log.warning("%s:%d: %s", version.name, version.number, error)
                reasons.append(str(error))
        raise ExecutorError("; ".join(reasons))
