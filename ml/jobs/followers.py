"""Serves the jobs that follow: scores what arrives for each of those that this worker holds."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from typing import Any

from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.database.client import Document
from ml.database.filters import names_field
from ml.database.refusals import passes
from ml.errors import ModelNotAvailable, UnknownModel
from ml.jobs import rows, states
from ml.jobs.arrivals import Arrivals, Behind, Place
from ml.jobs.commit import Committer, Lost
from ml.jobs.heartbeat import Heartbeat
from ml.jobs.memory import Memory
from ml.jobs.rows import Chunk
from ml.jobs.scorer import scored
from ml.jobs.scoring import Results
from ml.registry import Registry

log = logging.getLogger(__name__)

#: How long the thread waits for news at most, and after how long a job's place among the arrivals is written down
#: though nothing of it arrived: one that was not for long could be off the log.
LOOK_SECONDS = 0.5
MARK_SECONDS = 30.0


class _Held:
    """A job that this worker holds while it follows."""

    def __init__(self, db: Database[Document], job: Document, memory: Memory, arrivals: Arrivals, session: Any) -> None:
        self.job = job
        self.memory = memory
        self.heartbeat = Heartbeat(db, job)
        self.committer = Committer(db, job, session, self.heartbeat, memory)
        self.place: Place = arrivals.join(job["arrived"], predicted=names_field(job.get("where") or {}, "source"))
        self.marked = time.monotonic()
        # Whoever took it over and is still there after the length of a lease has not died of it: that is written down
        # sooner, since a job is given up where one worker after the other dies.
        taken_over = job.get("attempts", 0) > 0
        self.mark_after = job.get("lease_seconds", MARK_SECONDS) if taken_over else MARK_SECONDS
        self.ended = ExitStack()
        self.ended.callback(arrivals.leave, self.place)
        self.ended.enter_context(self.heartbeat)


class Followers:
    """The following jobs of one worker, served in turn by one thread, the most urgent first."""

    def __init__(self, db: Database[Document], registry: Registry) -> None:
        self._db = db
        self._registry = registry
        self._held: list[_Held] = []
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._stop = threading.Event()
        self._session = db.client.start_session()
        self._arrivals = Arrivals(db, self._news.set)
        self._thread: threading.Thread | None = None

    @property
    def session(self) -> Any:
        """In which their chunks are committed."""
        return self._session

    def add(self, job: Document, memory: Memory) -> None:
        """Serve a claimed job from now on, until it is lost or `close`."""
        with self._lock:
            self._held.append(_Held(self._db, job, memory, self._arrivals, self._session))
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="followers", daemon=True)
                self._thread.start()
        self._news.set()

    def close(self) -> None:
        """Finish the chunk that is being scored and give the jobs back."""
        self._stop.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join()
        for held in self._held:
            held.ended.close()
            try:
                states.give_back(self._db["jobs"], held.job)
            except PyMongoError as error:
                log.warning("job %s: it could not be given back: %s", held.job["_id"], error)
        self._arrivals.close()

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._news.wait(LOOK_SECONDS)
            self._news.clear()
            while self._round() and not self._stop.is_set():
                pass

    def _round(self) -> bool:
        """A chunk for each job that something arrived for; whether there was one."""
        with self._lock:
            held = sorted(self._held, key=lambda one: -one.job.get("priority", 0))
        some = False
        for one in held:
            if self._stop.is_set():
                return False
            try:
                some = self._serve(one) or some
            except Lost:
                log.info("job %s: paused, canceled or taken over", one.job["_id"])
                self._drop(one)
            except Behind:
                log.info("job %s: it looks through the inputs again", one.job["_id"])
                self._let_go(one, {"phase": "sweep", "checkpoint": None, "arrived": None})
            except (UnknownModel, ModelNotAvailable) as error:
                self._drop(one, str(error))
            except Exception as error:
                if passes(error):
                    log.warning("job %s: the database went away: %s", one.job["_id"], error)
                    self._let_go(one, {})
                else:
                    log.exception("job %s: failed", one.job["_id"])
                    self._drop(one, f"{type(error).__name__}: {error}"[:2000])
        return some

    def _serve(self, one: _Held) -> bool:
        if one.heartbeat.lost:
            raise Lost
        if one.memory.wait():
            return False
        if not self._arrivals.waiting(one.place):
            if time.monotonic() - one.marked > one.mark_after:
                self._commit(one, Results(), one.place.token)
                one.mark_after = MARK_SECONDS
            return False
        ids, token = self._arrivals.take(one.place, one.memory.size())
        wanted = rows.some(self._db, one.job, rows.without_result(self._db, one.job, ids)) if ids else []
        if wanted:
            began = time.monotonic()
            results = scored(self._registry, one.job, wanted)
            one.memory.took(len(wanted), time.monotonic() - began, results.row_bytes)
            one.memory.spend(len(wanted))
            self._commit(one, results, token)
        return True

    def _commit(self, one: _Held, results: Results, token: Any) -> None:
        one.committer.commit(Chunk([], {"arrived": token}), results)
        one.marked = time.monotonic()

    def _drop(self, one: _Held, reason: str | None = None) -> None:
        with self._lock:
            self._held.remove(one)
        one.ended.close()
        if reason is not None:
            try:
                states.fail(self._db["jobs"], one.job, reason)
            except PyMongoError as error:
                log.warning("job %s: its failure could not be written: %s", one.job["_id"], error)

    def _let_go(self, one: _Held, fields: Document) -> None:
        """Leave it to whoever is free; where the database is away, its lease runs out."""
        self._drop(one)
        try:
            states.let_go(self._db["jobs"], one.job, fields)
        except PyMongoError as error:
            log.warning("job %s: its lease must run out: %s", one.job["_id"], error)
