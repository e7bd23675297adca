"""One worker's turn at one job: the next chunk is read and the last one committed while one is scored."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum

from pymongo.client_session import ClientSession
from pymongo.database import Database

from ml.database.client import Document
from ml.errors import ModelNotAvailable, UnknownModel
from ml.jobs import states
from ml.jobs.arrivals import now_token
from ml.jobs.commit import Committer, Lost
from ml.jobs.heartbeat import Heartbeat
from ml.jobs.memory import Memory
from ml.jobs.rows import Chunk, walk
from ml.jobs.scoring import Results, score
from ml.registry import Registry

log = logging.getLogger(__name__)

#: How long a turn lasts where others wait for theirs.
TURN_SECONDS = 1.0
#: How often a turn that only waits looks whether others could use the worker, in seconds.
LOOK_SECONDS = 0.25
#: After how long a job is looked at again whose model is being built.
MODEL_SECONDS = 0.5


class Stopped(Exception):
    """The worker is to stop; the job goes back to the queue."""


class End(Enum):
    """How a turn ended, where the job is still this claim's or was ended by it."""

    #: Nothing is left to do, and the job has ended.
    ENDED = "ended"
    #: Others wait, or the job does: whoever is free takes it up again.
    LET_GO = "let go"
    #: It follows what arrives from now on, and is still held.
    FOLLOWS = "follows"


class Scorer:
    """One claim's turn."""

    def __init__(
        self,
        db: Database[Document],
        registry: Registry,
        job: Document,
        stop: threading.Event,
        memory: Memory | None = None,
        session: ClientSession | None = None,
    ) -> None:
        self._db = db
        self._jobs = db["jobs"]
        self._registry = registry
        self._job = job
        self._stop = stop
        self._memory = memory or Memory()
        self._memory.heed(job)
        self._session = session or db.client.start_session()
        self.heartbeat = Heartbeat(db, job)
        self.committer = Committer(db, job, self._session, self.heartbeat, self._memory)

    def run(self) -> End:
        """Work on the job until it is done or others wait. Raises Stopped or Lost, or what the database raises."""
        try:
            if self._model_is_loading():
                return self._let_go(MODEL_SECONDS)
            return self._run()
        except (UnknownModel, ModelNotAvailable) as error:
            if not states.fail(self._jobs, self._job, str(error)):
                raise Lost from None
            return End.ENDED

    def _run(self) -> End:
        job = self._job
        if job.get("follow") and job.get("arrived") is None:
            # From before the first look at what is there: whatever comes from now on is in one of the two.
            self._mark({"arrived": now_token(self._db)})
        if job.get("phase") == "tail":
            return End.FOLLOWS
        wait = self._work()
        if wait is not None:
            return self._let_go(wait)
        if job.get("follow"):
            self._mark({"phase": "tail", "checkpoint": None})
            job["phase"] = "tail"
            return End.FOLLOWS
        if not states.succeed(self._jobs, job, self.committer.ended()):
            raise Lost
        return End.ENDED

    def _work(self) -> float | None:
        """Score what there is: None when that is all, or the seconds after which to go on, since others wait."""
        chunks = walk(self._db, self._job, self._memory.size)
        began = time.monotonic()
        with ThreadPoolExecutor(1, "job-read") as reader, ThreadPoolExecutor(1, "job-write") as writer:
            coming = reader.submit(_next, chunks)
            writing: Future[None] | None = None
            try:
                while (chunk := coming.result()) is not None:
                    self._check()
                    if chunk.rows and (wait := self._pause()) is not None:
                        return wait
                    if chunk.rows:
                        coming = reader.submit(_next, chunks)
                    results = self._score(chunk)
                    if writing is not None:
                        writing.result()
                    writing = writer.submit(self.committer.commit, chunk, results)
                    if not chunk.rows:
                        # What is read next hangs on what is stored now.
                        writing.result()
                        coming = reader.submit(_next, chunks)
                    if time.monotonic() - began >= TURN_SECONDS:
                        self._registry.refresh()
                        if states.pressing(self._jobs, self._job):
                            writing.result()
                            return 0.0
                        began = time.monotonic()
                if writing is not None:
                    writing.result()
                return None
            finally:
                # Nothing of this turn is under way when it has ended, whatever ended it; what was computed is kept.
                if writing is not None:
                    writing.exception()
                coming.cancel()
                reader.submit(chunks.close)

    def _score(self, chunk: Chunk) -> Results:
        """The results of a chunk. Between chunks the model may be unloaded, as any that is not needed just then."""
        if not chunk.rows:
            return Results()
        began = time.monotonic()
        results = scored(self._registry, self._job, chunk.rows)
        self._memory.took(len(chunk.rows), time.monotonic() - began, results.row_bytes)
        self._memory.spend(len(chunk.rows))
        return results

    def _pause(self) -> float | None:
        """Wait until the next rows may be scored; the seconds that are left where another job could be worked on."""
        while wait := self._memory.wait():
            if self._stop.wait(min(wait, LOOK_SECONDS)):
                raise Stopped
            if self.heartbeat.lost:
                raise Lost
            if (wait := self._memory.wait()) and states.others(self._jobs):
                return wait
        return None

    def _model_is_loading(self) -> bool:
        """Whether the version that the job was given for is still being built. Raises what it cannot be used for."""
        model, version = self._job["model"], self._job["version"]
        self._registry.refresh()
        if self._registry.find(model, version).state == "loading":
            return True
        self._registry.resolve(model, version)
        return False

    def _let_go(self, seconds: float) -> End:
        if not states.let_go(self._jobs, self._job, {}, seconds):
            raise Lost
        return End.LET_GO

    def _mark(self, fields: Document) -> None:
        if states.advance(self._jobs, self._job, fields, {}) is None:
            raise Lost
        self._job.update(fields)

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped
        if self.heartbeat.lost:
            raise Lost


def scored(registry: Registry, job: Document, rows: list[Document]) -> Results:
    """The results of rows of a job. Raises ModelNotAvailable where its version was retired."""
    model, version = job["model"], job["version"]
    with registry.hold(model, version) as live:
        try:
            return score(live, rows, job)
        except ModelNotAvailable:
            registry.refresh()
            registry.resolve(model, version)  # retired meanwhile: it says so
            raise


def _next(chunks: Generator[Chunk]) -> Chunk | None:
    return next(chunks, None)
