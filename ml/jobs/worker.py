"""Claims jobs and works on them in turns, keeping the lease of each while it does."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.database.client import Document
from ml.database.refusals import passes
from ml.database.transactions import end_sessions
from ml.jobs import rows, states
from ml.jobs.commit import Lost
from ml.jobs.followers import Followers
from ml.jobs.memory import Memory
from ml.jobs.scorer import End, Scorer, Stopped
from ml.registry import Registry
from ml.traffic import Traffic

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
#: How often the models are read again between two turns; in a long one, the turn does it.
MODELS_SECONDS = 2.0
#: After how long a job is taken up again that the database went away from.
AWAY_SECONDS = 0.5
#: Jobs of which a worker remembers something.
MOST_REMEMBERED = 1000


class Worker:
    """Works on jobs in the thread that calls `run`, until `stop` is set."""

    def __init__(
        self,
        db: Database[Document],
        registry: Registry,
        stop: threading.Event,
        lease_seconds: float = states.LEASE_SECONDS,
    ) -> None:
        self._db = db
        self._jobs = db["jobs"]
        self._registry = registry
        self._stop = stop
        self._lease_seconds = lease_seconds
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._followers = Followers(db, registry)
        self._session = db.client.start_session()
        self._traffic = Traffic(db)
        self._memories: dict[object, Memory] = {}
        self._looked = -MODELS_SECONDS
        #: Jobs that are held no more, which the database could not be told yet.
        self._left: list[Document] = []

    def run(self) -> None:
        """Claim and work until stopped. What the database refuses for a moment is tried again."""
        try:
            while not self._stop.is_set():
                try:
                    self._leave()
                    self._look_at_models()
                    job = self._claim()
                except PyMongoError as error:
                    log.warning("no job can be claimed: %s", error)
                    job = None
                if job is None:
                    self._stop.wait(POLL_SECONDS)
                else:
                    self._work(job)
        finally:
            self._followers.close()

    def run_pending(self) -> int:
        """Work on what can be claimed now, then return: how many turns it took."""
        count = 0
        while not self._stop.is_set() and (job := self._claim()) is not None:
            self._work(job)
            count += 1
        return count

    def _look_at_models(self) -> None:
        """Read the models again now and then: the jobs that follow may use one that was retired."""
        if time.monotonic() - self._looked >= MODELS_SECONDS:
            self._registry.refresh()
            self._looked = time.monotonic()

    def _claim(self) -> Document | None:
        sessions = [self._session.session_id, self._followers.session.session_id]
        job = states.claim(self._jobs, self._name, self._lease_seconds, sessions)
        if job is not None:
            self._end_transactions(job)
        return job

    def _end_transactions(self, job: Document) -> None:
        """End what a worker that died left open: rows that it wrote and never committed would hold ours up."""
        before = job.pop("before", None)
        if before:
            end_sessions(self._db, before)

    def _work(self, job: Document) -> None:
        log.debug("job %s: claimed, fence %d", job["_id"], job["fence"])
        scorer = Scorer(self._db, self._registry, job, self._stop, self._memory(job), self._session)
        try:
            with scorer.heartbeat:
                if job.get("progress", {}).get("total") is None:
                    self._count(job)
                end = scorer.run()
            if end is End.FOLLOWS:
                self._followers.add(job, self._memory(job))
            if end is not End.LET_GO:
                log.info("job %s: %s", job["_id"], end.value)
        except Lost:
            log.info("job %s: paused, canceled or taken over", job["_id"])
        except Stopped:
            self._tell(job, states.give_back)
            log.info("job %s: back in the queue", job["_id"])
        except Exception as error:
            if passes(error):
                log.warning("job %s: the database went away: %s", job["_id"], error)
                self._left.append(job)
            else:
                log.exception("job %s: failed", job["_id"])
                reason = f"{type(error).__name__}: {error}"[:2000]
                self._tell(job, lambda jobs, job: states.fail(jobs, job, reason))

    def _memory(self, job: Document) -> Memory:
        if len(self._memories) > MOST_REMEMBERED:
            self._memories.clear()
        return self._memories.setdefault(job["_id"], Memory(self._traffic))

    def _leave(self) -> None:
        """Let go of what was held when the database went away, so that nobody waits for the lease."""
        while self._left:
            states.let_go(self._jobs, self._left[-1], {}, AWAY_SECONDS)
            self._left.pop()

    def _count(self, job: Document) -> None:
        """Find out how many rows the job has, beside it: that reads the whole collection."""
        threading.Thread(target=self._write_count, args=(job,), name="count", daemon=True).start()

    def _write_count(self, job: Document) -> None:
        try:
            states.counted(self._jobs, job, rows.count(self._db, job))
        except PyMongoError as error:
            log.warning("job %s: its rows cannot be counted: %s", job["_id"], error)

    def _tell(self, job: Document, change: Callable[[Collection[Document], Document], bool]) -> None:
        try:
            change(self._jobs, job)
        except PyMongoError as error:
            log.warning("job %s: its state could not be written, its lease runs out: %s", job["_id"], error)
