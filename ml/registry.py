"""Which versions of which models are live in this process, and which of them a request means."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.batcher import MAX_BATCH, QUEUE_LIMIT, Sink
from ml.cores import spread
from ml.database.client import Document
from ml.errors import ModelNotAvailable, StorageUnavailable, UnknownModel, listed
from ml.executors.base import ExecutorError
from ml.live import LiveModel, Loader
from ml.versions import Snapshot, Version, choose, read

log = logging.getLogger(__name__)

#: How often the database is asked what changed, in seconds.
POLL_SECONDS = 0.5


class Registry:
    """Resolves a name to a live model. Safe to use from any thread."""

    def __init__(
        self,
        db: Database[Document],
        cache: Path,
        sink: Sink,
        max_batch: int = MAX_BATCH,
        queue_limit: int = QUEUE_LIMIT,
        executor: str | None = None,
    ) -> None:
        self._db = db
        self._loader = Loader(db, cache, sink, max_batch, queue_limit, executor)
        self._snapshot = Snapshot()
        self._seen = False
        self._live: dict[tuple[str, int], LiveModel] = {}
        self._loading: dict[tuple[str, int], threading.Lock] = {}
        self._failed: dict[tuple[str, int], str] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._kept_once = False

    def start(self, *, keep: bool = True) -> None:
        """Follow the database from a thread of its own; with `keep`, keep aliased and newest versions loaded."""
        self._thread = threading.Thread(target=self._follow, args=(keep,), name="registry", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following, let what is queued finish, unload everything."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            live, self._live = list(self._live.values()), {}
        for model in live:
            model.batcher.close()

    def reasons_not_ready(self) -> list[str]:
        """Empty once the versions that this replica keeps were all tried; a later upload does not change that."""
        if self._kept_once:
            return []
        if not self._seen:
            return ["the models collection was not read yet"]
        waiting = [f"{v.name}:{v.number}" for v in self._snapshot.kept() if v.key not in self._live]
        return [f"models are being loaded: {listed(waiting)}"]

    def refresh(self) -> Snapshot:
        """Read the collections again. Raises PyMongoError; what was known then stays known."""
        self._snapshot, self._seen = read(self._db), True
        for key, live in list(self._live.items()):
            # What can be changed of a version that is served: its classes, its window.
            now = self._snapshot.versions.get(key[0], {}).get(key[1])
            if now is not None and now.document != live.version.document:
                live.version = now
                live.batcher.window = now.batch_window
        return self._snapshot

    def find(self, name: str, version: int | None = None, alias: str | None = None) -> Version:
        """The version that is meant, in whatever state it is. Raises UnknownModel or StorageUnavailable."""
        try:
            return choose(self._snapshot, name, version, alias)
        except UnknownModel:
            try:
                return choose(self.refresh(), name, version, alias)  # perhaps it is newer than what we know
            except PyMongoError as error:
                raise StorageUnavailable(f"the registry cannot be read: {type(error).__name__}") from error

    def resolve(self, name: str, version: int | None = None, alias: str | None = None) -> LiveModel:
        """A live model, loaded now where it was not. Raises UnknownModel, ModelNotAvailable or StorageUnavailable."""
        chosen = self.find(name, version, alias)
        if chosen.state != "available":
            try:
                self.refresh()
            except PyMongoError:
                log.debug("the registry could not be read again", exc_info=True)
            chosen = self.find(name, version, alias)
        if chosen.state != "available":
            because = f": {chosen.error}" if chosen.error else ""
            raise ModelNotAvailable(f"{chosen.name}:{chosen.number} is {chosen.state}{because}")
        live = self._live.get(chosen.key)
        return live if live is not None else self._load(chosen)

    def _load(self, version: Version) -> LiveModel:
        with self._lock:
            lock = self._loading.setdefault(version.key, threading.Lock())
        with lock, spread():  # a runtime's threads stay where the one that loads is
            live = self._live.get(version.key)
            if live is not None:
                return live
            if version.key in self._failed:
                raise ModelNotAvailable(self._failed[version.key])
            log.info("loading %s:%d", version.name, version.number)
            try:
                live = self._loader.open(version)
            except PyMongoError as error:
                raise StorageUnavailable(f"the model cannot be fetched: {type(error).__name__}") from error
            except ExecutorError as error:
                self._failed[version.key] = f"{version.name}:{version.number} cannot be loaded here: {error}"
                raise ModelNotAvailable(self._failed[version.key]) from error
            with self._lock:
                self._live[version.key] = live
            log.info("%s:%d is live", version.name, version.number)
            return live

    def _follow(self, keep: bool) -> None:
        while not self._stop.is_set():
            try:
                snapshot = self.refresh()
                if keep:
                    self._keep(snapshot)
                self._kept_once = True
                self._drop(snapshot)
            except PyMongoError as error:
                log.warning("the registry cannot be read: %s", error)
            except Exception:
                log.exception("following the models collection failed; it goes on")
            self._stop.wait(POLL_SECONDS)

    def _keep(self, snapshot: Snapshot) -> None:
        for version in snapshot.kept():
            if version.key not in self._live and version.key not in self._failed and not self._stop.is_set():
                try:
                    self._load(version)
                except (ModelNotAvailable, StorageUnavailable) as error:
                    log.warning("%s", error)

    def _drop(self, snapshot: Snapshot) -> None:
        """Unload what was retired."""
        with self._lock:
            gone = [
                self._live.pop(key)
                for key in list(self._live)
                if (entry := snapshot.versions.get(key[0], {}).get(key[1])) is None or entry.state != "available"
            ]
        for model in gone:
            log.info("unloading %s:%d", *model.version.key)
            model.batcher.close()
