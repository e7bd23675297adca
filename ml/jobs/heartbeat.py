"""Keeps the lease of a claimed job while nothing is committed, and tells when the claim is gone."""

from __future__ import annotations

import logging
import threading
import time

from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.database.client import Document
from ml.jobs import states

log = logging.getLogger(__name__)


class Heartbeat:
    """Renews a lease when nothing did for a third of it. Commits renew it too, and say so by `touch`.

    A worker that slept for longer finds its fence stale at its next write.
    """

    def __init__(self, db: Database[Document], job: Document) -> None:
        self._db = db
        self._job = job
        self._pause = job.get("lease_seconds", states.LEASE_SECONDS) / 3
        self._renewed = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="heartbeat", daemon=True)
        #: Whether the job was found to be another's, or nobody's.
        self.lost = False

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join()

    def touch(self) -> None:
        """Note that the lease was renewed."""
        self._renewed = time.monotonic()

    def _loop(self) -> None:
        while not self._end.wait(max(0.01, self._renewed + self._pause - time.monotonic())):
            if time.monotonic() < self._renewed + self._pause:
                continue
            try:
                if not states.renew(self._db["jobs"], self._job):
                    self.lost = True
                    return
            except PyMongoError as error:
                log.warning("job %s: its lease could not be renewed: %s", self._job["_id"], error)
            self.touch()
