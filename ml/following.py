"""Tells when documents have changed: by a change stream, or by the clock where there is none."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from pymongo.change_stream import ChangeStream
from pymongo.database import Database
from pymongo.errors import ConfigurationError, PyMongoError

from ml.cores import anywhere
from ml.database.client import Document

log = logging.getLogger(__name__)

#: Seconds between two looks at the stream. It reads the log of all that the database writes, predictions too: to be
#: woken by each write costs more than to look at many together.
LOOK_SECONDS = 0.2
#: Seconds after which the collections are read again though the stream told of nothing.
SAFETY_SECONDS = 10.0
#: Seconds between two readings where there is no stream, and until a stream is tried again.
POLL_SECONDS = 0.5
RETRY_SECONDS = 10.0
#: Milliseconds that the database may wait for an event once it is asked.
AWAIT_MS = 20
#: Seconds that `close` waits for a database that does not answer.
CLOSE_SECONDS = 5.0

_CHANGED = {"$objectToArray": {"$ifNull": ["$updateDescription.updatedFields", {}]}}
_OF_THE_BUILD = {"$regexMatch": {"input": "$$this.k", "regex": r"^(re)?build(\.|$)"}}
#: Changes of the models' two collections. A build that goes on renews its lease and its log: that is nobody's business.
PIPELINE: list[dict[str, Any]] = [
    {"$match": {"ns.coll": {"$in": ["models", "registry"]}}},
    {
        "$match": {
            "$or": [
                {"ns.coll": "registry"},
                {"operationType": {"$ne": "update"}},
                {"updateDescription.removedFields.0": {"$exists": True}},
                {"$expr": {"$not": [{"$allElementsTrue": [{"$map": {"input": _CHANGED, "in": _OF_THE_BUILD}}]}]}},
            ]
        }
    },
    {"$project": {"operationType": True}},
]


class Follower:
    """A thread that calls `changed` at once, and again whenever what it follows may have changed.

    `pipeline` says which changes of the database these are, `what` how people call what is followed. `changed` reads
    it and may raise PyMongoError; it must not wait for anything else. With `quiet` that all is well is no news.
    """

    def __init__(
        self,
        db: Database[Document],
        changed: Callable[[], object],
        pipeline: list[dict[str, Any]] = PIPELINE,
        what: str = "models",
        *,
        quiet: bool = False,
    ) -> None:
        self._db = db
        self._changed = changed
        self._pipeline = pipeline
        self._what = what
        self._well = logging.DEBUG if quiet else logging.INFO
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"following-{what}", daemon=True)
        self._told = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let it end, without waiting for that."""
        self._stop.set()

    def close(self) -> None:
        """Stop, whether it was started or not."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def _loop(self) -> None:
        anywhere()
        while not self._stop.is_set():
            try:
                # What is written while the collections are read is in the stream, as that was opened before.
                with self._open() as stream:
                    self._tell(self._well, f"the {self._what} are followed by a change stream")
                    self._watch(stream)
            except PyMongoError as error:
                self._tell(logging.WARNING, f"no change stream tells of the {self._what}, they are polled: {error}")
            except Exception:
                log.exception("following the %s failed; it goes on", self._what)
            self._poll()

    def _open(self) -> ChangeStream[Document]:
        try:
            return self._db.watch(self._pipeline, max_await_time_ms=AWAIT_MS)
        except (NotImplementedError, TypeError) as error:  # a database in memory
            raise ConfigurationError(str(error)) from error

    def _watch(self, stream: ChangeStream[Document]) -> None:
        read = -SAFETY_SECONDS
        while not self._stop.is_set():
            changed, until = False, time.monotonic() + LOOK_SECONDS
            # What comes without end is read after a while none the less; the rest of it is the next look's.
            while time.monotonic() < until and stream.try_next() is not None:
                changed = True
            if changed or time.monotonic() - read >= SAFETY_SECONDS:
                self._changed()
                read = time.monotonic()
            self._stop.wait(LOOK_SECONDS)

    def _poll(self) -> None:
        end = time.monotonic() + RETRY_SECONDS
        while not self._stop.is_set() and time.monotonic() < end:
            try:
                self._changed()
            except PyMongoError as error:
                self._tell(logging.WARNING, f"the {self._what} cannot be read: {error}")
            except Exception:
                log.exception("following the %s failed; it goes on", self._what)
            self._stop.wait(POLL_SECONDS)

    def _tell(self, level: int, what: str) -> None:
        """Log what is new, not twice a second the same."""
        if what != self._told:
            self._told = what
            log.log(level, "%s", what)
