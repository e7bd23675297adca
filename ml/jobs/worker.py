"""Claims jobs and runs them, one at a time, keeping the lease while it does."""

from __future__ import annotations

import logging
import os
import socket
import threading

from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.database.client import Document
from ml.database.refusals import refused
from ml.errors import StorageUnavailable
from ml.jobs import states
from ml.jobs.scorer import Lost, Scorer, Stopped
from ml.registry import Registry

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25


class Worker:
    """Runs jobs in the thread that calls `run`, until `stop` is set."""

    def __init__(
        self,
        db: Database[Document],
        registry: Registry,
        stop: threading.Event,
        lease_seconds: float = states.LEASE_SECONDS,
    ) -> None:
        self._db = db
        self._registry = registry
        self._stop = stop
        self._lease_seconds = lease_seconds
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def run(self) -> None:
        """Claim and run until stopped. What the database refuses for a moment is tried again."""
        while not self._stop.is_set():
            try:
                job = self._claim()
            except PyMongoError as error:
                log.warning("no job can be claimed: %s", error)
                job = None
            if job is None:
                self._stop.wait(POLL_SECONDS)
            else:
                self._run(job)

    def run_pending(self) -> int:
        """Run what can be claimed now, then return: how many jobs."""
        count = 0
        while not self._stop.is_set() and (job := self._claim()) is not None:
            self._run(job)
            count += 1
        return count

    def _claim(self) -> Document | None:
        return states.claim(self._db["jobs"], self._name, self._lease_seconds)

    def _run(self, job: Document) -> None:
        log.info("job %s: claimed, fence %d", job["_id"], job["fence"])
        jobs = self._db["jobs"]
        with _Heartbeat(self._db, job):
            try:
                Scorer(self._db, self._registry, job, self._stop).run()
                log.info("job %s: ended", job["_id"])
            except Lost:
                log.info("job %s: paused, canceled or taken over", job["_id"])
            except Stopped:
                states.give_back(jobs, job)
                log.info("job %s: back in the queue", job["_id"])
            except Exception as error:
                if isinstance(error, StorageUnavailable) or (isinstance(error, PyMongoError) and not refused(error)):
                    # Its lease runs out, and it is claimed again, here or elsewhere.
                    log.warning("job %s: the database went away: %s", job["_id"], error)
                else:
                    log.exception("job %s: failed", job["_id"])
                    self._fail(job, error)

    def _fail(self, job: Document, error: Exception) -> None:
        try:
            states.fail(self._db["jobs"], job, f"{type(error).__name__}: {error}"[:2000])
        except PyMongoError as second:
            log.warning("job %s: its failure could not be written: %s", job["_id"], second)


class _Heartbeat:
    """Renews a lease every third of it. A worker that slept for longer finds its fence stale at its next write."""

    def __init__(self, db: Database[Document], job: Document) -> None:
        self._db = db
        self._job = job
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="heartbeat", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._done.wait(self._job["lease_seconds"] / 3):
            try:
                if not states.renew(self._db["jobs"], self._job):
                    return
            except PyMongoError as error:
                log.warning("job %s: its lease could not be renewed: %s", self._job["_id"], error)
