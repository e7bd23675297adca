"""Who waits for jobs in this process: one follower of the collection wakes them all, as long as there is anyone."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from ml.admission import Admission
from ml.database.client import READ_MS, Document
from ml.following import Follower
from ml.jobs.states import ENDED

#: Any change of a job, by whoever makes it.
PIPELINE: list[dict[str, Any]] = [{"$match": {"ns.coll": "jobs"}}, {"$project": {"operationType": True}}]
#: What nobody waits for: the list of rows, which never changes, and what the lease and the webhook leave in a job.
_UNSEEN = dict.fromkeys(("inputs", "scope", "lease", "outbox"), False)


class Watch:
    """One job, as one thread waits for it."""

    def __init__(self, id_: ObjectId) -> None:
        self.id = id_
        #: The newest state that is known, without its list of rows; None where the job is not there (any more).
        self.job: Document | None = None
        #: Whether the process stops, and nobody is to wait on.
        self.stopped = False
        self._read = -1
        self._news = threading.Event()

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for: the job has ended or is gone, or the process stops."""
        return self.stopped or self.job is None or self.job.get("status") in ENDED

    def wait(self, seconds: float) -> bool:
        """Wait until `job` is another than when this was last asked, or `stopped`; False where neither came in time."""
        if not self._news.wait(max(0.0, seconds)):
            return False
        self._news.clear()  # before the caller looks, so that what comes from now on is news again
        if self.stopped:
            self._news.set()
        return True

    def wait_for_end(self, seconds: float) -> None:
        """Wait until there is nothing more to wait for, or so long."""
        end = time.monotonic() + seconds
        while not self.over and self.wait(end - time.monotonic()):
            pass

    def tell(self, job: Document | None, read: int) -> None:
        """Take in what a reading found; readings are numbered as they began, and an older one is no news."""
        if read > self._read:
            self._read = read
            if job != self.job:
                self.job = job
                self._news.set()

    def stop(self) -> None:
        """End the wait."""
        self.stopped = True
        self._news.set()


class Watching:
    """Everyone who waits for a job here. Each holds a thread, hence the places; there are no more waits than these."""

    def __init__(self, db: Database[Document], places: int, among: Admission) -> None:
        """`among` are the places of all that is long under way; a wait takes one of them too."""
        self._db = db
        self._places = Admission(places, "waits")
        self._among = among
        self._lock = threading.Lock()
        self._watches: list[Watch] = []
        self._follower: Follower | None = None
        self._stopping = threading.Event()
        self._readings = itertools.count()

    @contextmanager
    def watch(self, id_: ObjectId) -> Iterator[Watch]:
        """Within it, what becomes of a job is told to the watch, which has its present state from the beginning.

        Raises Overloaded, or what the database raises where the job cannot be read.
        """
        with ExitStack() as places:
            for place in (self._places, self._among):
                place.take()
                places.callback(place.give)
            watch = Watch(id_)
            self._enter(watch)
            try:
                # It is followed already: what is written after this reading is told.
                self._look([watch])
                yield watch
            finally:
                self._leave(watch)

    def pause(self, seconds: float) -> None:
        """Wait so long, or until the process stops."""
        self._stopping.wait(seconds)

    def inside(self) -> int:
        """How many wait."""
        return self._places.inside()

    def stop(self) -> None:
        """End all waits, now and from now on: the process is to end, and is waited for."""
        with self._lock:
            self._stopping.set()
            for watch in self._watches:
                watch.stop()

    def close(self) -> None:
        """The same, and stop following."""
        self.stop()
        with self._lock:
            follower, self._follower = self._follower, None
        if follower is not None:
            follower.close()

    def _enter(self, watch: Watch) -> None:
        with self._lock:
            self._watches.append(watch)
            if self._stopping.is_set():
                watch.stop()
            elif self._follower is None:
                self._follower = Follower(self._db, self._look_at_all, PIPELINE, "jobs", quiet=True)
                self._follower.start()

    def _leave(self, watch: Watch) -> None:
        with self._lock:
            self._watches.remove(watch)
            if not self._watches and self._follower is not None:
                self._follower.stop()
                self._follower = None

    def _look_at_all(self) -> None:
        with self._lock:
            watches = list(self._watches)
        self._look(watches)

    def _look(self, watches: Sequence[Watch]) -> None:
        """Read the jobs of these and tell of them."""
        ids = list({watch.id for watch in watches})
        if not ids:
            return
        read = next(self._readings)
        found = {job["_id"]: job for job in self._db["jobs"].find({"_id": {"$in": ids}}, _UNSEEN, max_time_ms=READ_MS)}
        with self._lock:
            for watch in watches:
                watch.tell(found.get(watch.id), read)
