"""Which versions of which models there are, and which are live in this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.batcher import MAX_BATCH, QUEUE_LIMIT, Batcher, Sink
from ml.cores import spread
from ml.database.blobs import Blobs
from ml.database.client import Document
from ml.errors import ModelNotAvailable, StorageUnavailable, UnknownModel, listed
from ml.executors import load_executor
from ml.executors.base import ExecutorError
from ml.signature import Signature

log = logging.getLogger(__name__)

#: How often the database is asked what changed, in seconds.
POLL_SECONDS = 0.5

#: The longest that a model may let its rows wait for company.
MAX_WINDOW_MS = 1000

FIELDS = (
    "name",
    "version",
    "state",
    "error",
    "digest",
    "inputs",
    "outputs",
    "classes",
    "executor",
    "artefacts",
    "batch_window_ms",
)
#: What a version cannot be without. What other programs put among the models must not stop those that are.
TYPES = {"name": str, "version": int, "state": str}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model as its document says."""

    id: ObjectId
    name: str
    number: int
    state: str
    error: str | None
    document: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, int]:
        return self.name, self.number

    @property
    def batch_window(self) -> float:
        """Seconds that the first row of a batch waits for others; 0 where the document says nothing that can be."""
        window = self.document.get("batch_window_ms")
        return window / 1000 if isinstance(window, (int, float)) and 0 <= window <= MAX_WINDOW_MS else 0.0


@dataclass(slots=True)
class LiveModel:
    """A loaded version: its signature, and the batcher that owns its executor."""

    version: Version
    signature: Signature
    batcher: Batcher

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
            "executor": document.get("executor"),
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The models collection at one moment."""

    versions: dict[str, dict[int, Version]] = field(default_factory=dict)
    aliases: dict[str, dict[str, int]] = field(default_factory=dict)

    def kept(self) -> list[Version]:
        """The available versions that a replica keeps loaded: those with an alias, and each name's newest."""
        kept = []
        for name, versions in self.versions.items():
            available = [number for number, version in versions.items() if version.state == "available"]
            wanted = {max(available)} if available else set()
            wanted |= set(self.aliases.get(name, {}).values()) & set(available)
            kept += [versions[number] for number in sorted(wanted)]
        return kept


class Registry:
    """Resolves a name to a live model. Safe to use from any thread."""

    def __init__(
        self,
        db: Database[Document],
        cache: Path,
        sink: Sink,
        max_batch: int = MAX_BATCH,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._db = db
        self._blobs = Blobs(db)
        self._cache = cache
        self._sink = sink
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
        versions: dict[str, dict[int, Version]] = {}
        for document in self._db["models"].find({}, dict.fromkeys(FIELDS, True)):
            if not all(isinstance(document.get(field), kind) for field, kind in TYPES.items()):
                continue
            version = Version(
                document["_id"],
                document["name"],
                document["version"],
                document["state"],
                document.get("error"),
                document,
            )
            versions.setdefault(version.name, {})[version.number] = version
        entries = {entry["_id"]: entry.get("aliases") for entry in self._db["registry"].find()}
        aliases = {name: targets for name, targets in entries.items() if isinstance(targets, dict)}
        self._snapshot, self._seen = Snapshot(versions, aliases), True
        for key, live in list(self._live.items()):
            # What can be changed of a version that is served: its classes, its window.
            now = versions.get(key[0], {}).get(key[1])
            if now is not None and now.document != live.version.document:
                live.version = now
                live.batcher.window = now.batch_window
        return self._snapshot

    def find(self, name: str, version: int | None = None, alias: str | None = None) -> Version:
        """The version that is meant, in whatever state it is. Raises UnknownModel or StorageUnavailable."""
        try:
            return _choose(self._snapshot, name, version, alias)
        except UnknownModel:
            try:
                return _choose(self.refresh(), name, version, alias)  # perhaps it is newer than what we know
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
                live = self._open(version)
            except PyMongoError as error:
                raise StorageUnavailable(f"the model cannot be fetched: {type(error).__name__}") from error
            except ExecutorError as error:
                self._failed[version.key] = f"{version.name}:{version.number} cannot be loaded here: {error}"
                raise ModelNotAvailable(self._failed[version.key]) from error
            with self._lock:
                self._live[version.key] = live
            log.info("%s:%d is live", version.name, version.number)
            return live

    def _open(self, version: Version) -> LiveModel:
        document = version.document
        kind = document["executor"]
        directory = self._cache / f"{document['artefacts'][kind]}"
        if not directory.is_dir():
            self._blobs.fetch_directory(document["artefacts"][kind], directory)
        signature = Signature.from_document(document)
        executor = load_executor(kind, directory, signature)
        try:
            executor.warm()
        except Exception as error:
            # Zeros are no proof of anything: the build has proven the model on better rows.
            log.warning("%s:%d failed on zeros", version.name, version.number, exc_info=error)
        batcher = Batcher(
            executor, self._sink, *version.key, self._max_batch, self._queue_limit, window=version.batch_window
        )
        return LiveModel(version, signature, batcher)

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


def _choose(snapshot: Snapshot, name: str, version: int | None, alias: str | None) -> Version:
    versions = snapshot.versions.get(name)
    if not versions:
        raise UnknownModel(f"there is no model {name!r}; there are: {listed(sorted(snapshot.versions))}")
    aliases = snapshot.aliases.get(name, {})
    if alias is not None:
        if alias not in aliases:
            raise UnknownModel(f"{name} has no alias {alias!r}; there are: {listed(sorted(aliases))}")
        version = aliases[alias]
    if version is not None:
        if version not in versions:
            raise UnknownModel(f"{name} has no version {version}; there are: {listed(sorted(versions))}")
        return versions[version]
    if "stable" in aliases and aliases["stable"] in versions:
        return versions[aliases["stable"]]
    available = [number for number, entry in versions.items() if entry.state == "available"]
    return versions[max(available or versions)]
