"""The versions that are loaded in this process: each loaded once, the least recently used unloaded, drained."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from pymongo.errors import PyMongoError

from ml.cores import anywhere
from ml.errors import DeadlineExceeded, ModelNotAvailable, ServiceError, StorageUnavailable
from ml.executors.base import ExecutorError
from ml.live import LiveModel
from ml.signature import Signature
from ml.versions import Key, Version
from ml.ways import NotBuiltHere

log = logging.getLogger(__name__)

#: Versions beyond those that are needed that stay loaded, where nothing is said.
LIVE_MODELS = 8
#: Loads at once: each takes memory and processor time from what is served meanwhile.
AT_ONCE = 4
#: Seconds that `close` waits for loads under way: a process that ends in the midst of one may crash.
CLOSE_SECONDS = 10.0


class Failure(NamedTuple):
    """Why a version cannot be loaded in this process, as its document was then."""

    reason: str
    document: Mapping[str, Any]
    #: Whether it is to be built for this processor, and can be loaded then.
    later: bool


class Load:
    """A version on its way to be loaded. Stands for the live model until somebody has to have that."""

    def __init__(self, version: Version, hold: Callable[[Key], None], release: Callable[[Key], None]) -> None:
        self.version = version
        self.done = threading.Event()
        self.live: LiveModel | None = None
        #: Why there is none, where `done` is set and `live` is not.
        self.error: ServiceError | None = None
        self._hold = hold
        self._release = release

    @property
    def signature(self) -> Signature:
        """Known before the model is loaded. Raises ModelNotAvailable where the document has none."""
        try:
            return Signature.from_document(self.version.document)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelNotAvailable(f"{self.version} has no signature that can be read: {error!r}") from error

    def wait(self, deadline: float | None = None) -> LiveModel:
        """The live model, at a monotonic time at the latest. Raises DeadlineExceeded, or why it cannot be loaded."""
        self._hold(self.version.key)  # so that it is not unloaded again before this thread has it
        try:
            if not self.done.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
                raise DeadlineExceeded(f"{self.version} is still being loaded; nothing was computed or stored")
        finally:
            self._release(self.version.key)
        if self.live is None:
            # One of its own for each thread: a traceback grows with every raise.
            raise type(self.error)(str(self.error)) if self.error else ModelNotAvailable(f"{self.version} did not load")
        return self.live


class Loaded:
    """Safe to use from any thread. `live` is read without a lock: dictionaries change in one step."""

    def __init__(self, load: Callable[[Version], LiveModel], limit: int = LIVE_MODELS) -> None:
        self.live: dict[Key, LiveModel] = {}
        #: What cannot be loaded in this process, until its document is another.
        self.failed: dict[Key, Failure] = {}
        self._load = load
        self._limit = limit
        self._loads: dict[Key, Load] = {}
        self._held: Counter[Key] = Counter()
        self._needed: frozenset[Key] = frozenset()
        self._available: frozenset[Key] = frozenset()
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def start(self, version: Version) -> Load:
        """Load a version in a thread of its own, or join the load that is under way."""
        with self._lock:
            load = self._loads.get(version.key)
            if load is not None:
                return load
            load = Load(version, self._take_hold, self._release)
            load.live = self.live.get(version.key)
            failure = self.failed.get(version.key)
            if load.live is None and failure is None and not self._closed:
                self._loads[version.key] = load
                self._begin(f"load-{version}", self._run, load)
                return load
        load.error = ModelNotAvailable(failure.reason if failure else "this process is stopping")
        load.done.set()
        return load

    @contextmanager
    def holding(self, key: Key) -> Iterator[None]:
        """Within it, the version is not unloaded for being the least recently used."""
        self._take_hold(key)
        try:
            yield
        finally:
            self._release(key)

    def retain(self, needed: Collection[Key], available: Mapping[Key, Version]) -> None:
        """Say which versions are never to be the least recently used, and unload what is available no more.

        What could not be loaded is tried again where its document has changed.
        """
        with self._lock:
            self._needed = frozenset(needed)
            self._available = frozenset(available)
            for key, failure in list(self.failed.items()):
                if key not in available or available[key].document != failure.document:
                    del self.failed[key]
            gone = [self.live.pop(key) for key in self.live.keys() - self._available]
        self._unload(gone)
        self._evict()

    def close(self) -> None:
        """Load nothing any more, answer what is queued, unload everything."""
        with self._lock:
            self._closed = True
            live, self.live = list(self.live.values()), {}
            threads = list(self._threads)
        for model in live:
            model.batcher.close()
        end = time.monotonic() + CLOSE_SECONDS
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _run(self, load: Load) -> None:
        version = load.version
        anywhere()  # a runtime's threads stay where the one that loads is
        try:
            with self._places:
                log.info("loading %s", version)
                live = self._load(version)
        except (PyMongoError, OSError) as error:  # it may go well the next time
            load.error = StorageUnavailable(f"{version} cannot be fetched: {type(error).__name__}")
            log.warning("%s cannot be fetched: %s", version, error)
        except Exception as error:
            why = str(error) if isinstance(error, ExecutorError) else f"{type(error).__name__}: {error}"
            reason = f"{version} cannot be loaded here: {why}"
            load.error = ModelNotAvailable(reason)
            later = isinstance(error, NotBuiltHere)
            self.failed[version.key] = Failure(reason, version.document, later)
            log.warning("%s", reason, exc_info=None if isinstance(error, ExecutorError) else error)
        else:
            self._publish(load, live)
        finally:
            with self._lock:
                del self._loads[version.key]
            load.done.set()
        self._evict()

    def _publish(self, load: Load, live: LiveModel) -> None:
        live.used = time.monotonic()
        with self._lock:
            useless = self._closed or load.version.key not in self._available
            if not useless:
                self.live[load.version.key] = load.live = live
        if useless:
            load.error = ModelNotAvailable(f"{load.version} was retired while it was being loaded")
            live.batcher.close()
        else:
            log.info("%s is live", load.version)

    def _evict(self) -> None:
        with self._lock:
            free = [key for key in self.live if key not in self._needed and key not in self._held]
            free.sort(key=lambda key: self.live[key].used)
            out = [self.live.pop(key) for key in free[: max(0, len(free) - self._limit)]]
        self._unload(out)

    def _unload(self, models: list[LiveModel]) -> None:
        """Close models that nobody finds any more, each once it has answered what is queued."""
        for model in models:
            log.info("unloading %s", model.version)
            with self._lock:
                self._begin(f"unload-{model.version}", model.batcher.close)

    def _begin(self, name: str, work: Callable[..., None], *arguments: object) -> None:
        """Start a thread that `close` waits for; the lock is held."""

        def run() -> None:
            try:
                work(*arguments)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.add(thread)
        thread.start()

    def _take_hold(self, key: Key) -> None:
        with self._lock:
            self._held[key] += 1

    def _release(self, key: Key) -> None:
        with self._lock:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]
        self._evict()
