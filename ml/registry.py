"""Resolves names to live models: which version a request means here, and that it is loaded when it is needed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.batcher import MAX_BATCH, QUEUE_LIMIT, Sink
from ml.database.client import Document
from ml.errors import ModelNotAvailable, ServiceError, StorageUnavailable, UnknownModel, listed
from ml.following import Follower
from ml.keeping import Keeper
from ml.live import LiveModel, Loader
from ml.loaded import LIVE_MODELS, Load, Loaded
from ml.readings import Readings
from ml.switching import Route, changed, stand_ins
from ml.versions import Key, Snapshot, Version, choose, read

log = logging.getLogger(__name__)

#: Seconds that a change over REST waits for the versions that names will then mean to be loaded.
PREPARE_SECONDS = 20.0


class Registry:
    """Safe to use from any thread.

    What a name or an alias means moves here to another version only once that is loaded and warm; until then the one
    that it meant before goes on answering, as long as that is available. A version number always means that version.
    """

    def __init__(
        self,
        db: Database[Document],
        cache: Path,
        sink: Sink,
        max_batch: int = MAX_BATCH,
        queue_limit: int = QUEUE_LIMIT,
        live_models: int = LIVE_MODELS,
        executor: str | None = None,
    ) -> None:
        self._db = db
        self._loaded = Loaded(Loader(db, cache, sink, max_batch, queue_limit, executor).open, live_models)
        self._follower = Follower(db, self.refresh)
        self._keeper = Keeper(self._loaded, self._missing)
        self._keep = False
        self._snapshot = Snapshot()
        self._seen = False
        self._stand_ins: dict[Route, Key] = {}
        self._reading = threading.Lock()
        self._readings = Readings(self.refresh)

    def start(self, *, keep: bool = True) -> None:
        """With `keep`: follow the database from a thread of its own, and keep aliased and newest versions loaded.

        Without, `refresh` is the caller's. A change stream has the database look at all that is written, and a job
        writes much; who only works on jobs can look himself.
        """
        self._keep = keep
        if keep:
            self._keeper.start()
            self._follower.start()

    def close(self) -> None:
        """Stop following, let what is queued finish, unload everything."""
        self._follower.close()
        self._keeper.close()
        self._loaded.close()

    def reasons_not_ready(self) -> list[str]:
        """Empty once the versions that this replica keeps were all tried; a later upload does not change that."""
        if self._keeper.done_once or (self._seen and not self._keep):
            return []
        if not self._seen:
            return ["the models collection was not read yet"]
        return [f"models are being loaded: {listed(self._missing())}"]

    def queued(self) -> int:
        """Rows that wait in this process for the models that are loaded."""
        return sum(model.batcher.queued for model in list(self._loaded.live.values()))

    def refresh(self) -> Snapshot:
        """Read the collections again. Raises PyMongoError; what was known then stays known."""
        with self._reading:  # what was read first must not come last
            new, live = read(self._db), self._loaded.live
            standing = stand_ins(self._snapshot, self._stand_ins, new, live.keys()) if self._keep else {}
            needed = {version.key for version in new.kept()} | set(standing.values()) if self._keep else set()
            self._loaded.retain(needed, new.available())
            # In this order: a request that sees the new snapshot sees what stands in.
            self._stand_ins = standing
            self._snapshot, self._seen = new, True
            for key, model in list(live.items()):
                # What can be changed of a version that is served: its classes, its window.
                now = new.versions[key[0]][key[1]]
                if now.document != model.version.document:
                    model.version = now
                    model.batcher.window = now.batch_window
        self._keeper.wake()
        return new

    def find(self, name: str, version: int | None = None, alias: str | None = None) -> Version:
        """The version that the database means, in whatever state it is. Raises UnknownModel or StorageUnavailable."""
        try:
            return choose(self._snapshot, name, version, alias)
        except UnknownModel:
            self._readings.ask()  # perhaps it is newer than what we know
            return choose(self._snapshot, name, version, alias)

    def known(self) -> Snapshot:
        """All models, read again unless that was done a moment ago; what was known where they cannot be read.

        Raises StorageUnavailable where nothing was.
        """
        try:
            self._readings.ask()
        except StorageUnavailable:
            if not self._seen:
                raise
        return self._snapshot

    def meant(self, name: str, version: int | None = None, alias: str | None = None) -> LiveModel | Load:
        """What answers such a request here: a live model, or one that is being loaded from now on. Never waits for it.

        Raises UnknownModel, ModelNotAvailable or StorageUnavailable.
        """
        chosen = self.find(name, version, alias)
        if chosen.state != "available":
            with suppress(StorageUnavailable):
                self._readings.ask()
            chosen = self.find(name, version, alias)
        if chosen.state != "available":
            because = f": {chosen.error}" if chosen.error else ""
            raise ModelNotAvailable(f"{chosen} is {chosen.state}{because}")
        live = self._loaded.live.get(chosen.key)
        return live if live is not None else self._not_live(chosen, (name, alias), pinned=version is not None)

    def resolve(
        self, name: str, version: int | None = None, alias: str | None = None, deadline: float | None = None
    ) -> LiveModel:
        """As `meant`, and waits for a load, until a monotonic time. Raises DeadlineExceeded too."""
        meant = self.meant(name, version, alias)
        return meant if isinstance(meant, LiveModel) else meant.wait(deadline)

    @contextmanager
    def hold(
        self, name: str, version: int | None = None, alias: str | None = None, deadline: float | None = None
    ) -> Iterator[LiveModel]:
        """As `resolve`, and within it the model is unloaded only if it is retired."""
        meant = self.meant(name, version, alias)
        with self._loaded.holding(meant.version.key):
            live = self.resolve(name, meant.version.number, None, deadline)
            try:
                yield live
            finally:
                live.used = time.monotonic()

    @contextmanager
    def changing(self, key: Key, aliases: Sequence[str] | None, *, retired: bool = False) -> Iterator[None]:
        """Around a change of a version's aliases, or its retirement: first what names will mean is loaded here.

        That is waited for within a bound. After the block, what it wrote is known here.
        """
        with ExitStack() as held:
            if aliases is not None or retired:
                self._prepare(key, aliases, retired, held)
            yield
            try:
                self.refresh()
            except PyMongoError:
                log.warning("a change was made, and cannot be read yet", exc_info=True)

    def _prepare(self, key: Key, aliases: Sequence[str] | None, retired: bool, held: ExitStack) -> None:
        deadline = time.monotonic() + PREPARE_SECONDS
        try:
            before = self.refresh()
        except PyMongoError:
            return  # nor can the change be made
        now = {version.key for version in before.meanings(key[0]).values()}
        for version in changed(before, key, aliases, retired=retired).meanings(key[0]).values():
            if version.state != "available" or version.key in now:
                continue
            held.enter_context(self._loaded.holding(version.key))
            try:
                self._loaded.start(version).wait(deadline)
            except ServiceError as error:
                log.warning("%s is about to be meant and not loaded: %s", version, error)

    def _not_live(self, chosen: Version, route: Route, *, pinned: bool) -> LiveModel | Load:
        # A version that cannot be loaded is meant all the same: it was chosen, and whoever asks is to be told why. One
        # that is to be built for this processor can be, once it is.
        failure = self._loaded.failed.get(chosen.key)
        key = None if pinned or (failure and not failure.later) else self._stand_ins.get(route)
        live = self._loaded.live.get(key) if key is not None else None
        if live is not None:
            return live
        load = self._loaded.start(chosen)
        return load.live or load

    def _missing(self) -> list[Version]:
        """What is kept and not loaded, without what cannot be; first what others stand in for."""
        live, failed, snapshot = self._loaded.live, self._loaded.failed, self._snapshot
        meanings = [snapshot.meanings(name).get(alias) for name, alias in self._stand_ins]
        awaited = {version.key for version in meanings if version is not None}
        missing = [version for version in snapshot.kept() if version.key not in live and version.key not in failed]
        return sorted(missing, key=lambda version: version.key not in awaited)
