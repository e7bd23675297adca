"""Runs one claimed job: reads its rows, scores them, commits a chunk with its progress in one transaction."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from ml.database.client import Document
from ml.database.transactions import transact
from ml.errors import ModelNotAvailable, UnknownModel
from ml.jobs import rows, states
from ml.jobs.scoring import score
from ml.metrics import job_rows
from ml.registry import Registry

log = logging.getLogger(__name__)

DUPLICATE_KEY = 11000


class Stopped(Exception):
    """The worker is to stop; the job goes back to the queue."""


class Lost(Exception):
    """The job is not this claim's any more: paused, canceled or taken over. Nothing was written."""


class Scorer:
    """One claim's run of one job."""

    def __init__(self, db: Database[Document], registry: Registry, job: Document, stop: threading.Event) -> None:
        self._db = db
        self._registry = registry
        self._job = job
        self._stop = stop
        progress = job.get("progress") or {}
        self._done: int = progress.get("done") or 0
        self._failed: int = progress.get("failed") or 0
        self._total: int | None = None
        self._began = time.monotonic()
        self._scored = 0

    def run(self) -> None:
        """Score all rows, then end the job. Raises Stopped or Lost, or what the database raises."""
        try:
            self._wait_for_model()
            self._run()
        except (UnknownModel, ModelNotAvailable) as error:
            if not states.fail(self._db["jobs"], self._job, str(error)):
                raise Lost from None

    def _run(self) -> None:
        self._began = time.monotonic()
        self._total = rows.count(self._db, self._job)
        phase, checkpoint = self._job.get("phase", "scan"), self._job.get("checkpoint")
        if phase in ("scan", "retry"):
            for chunk in rows.chunks(self._db, self._job, checkpoint):
                self._check()
                # After a scan, a retry keeps what succeeded; a first scan has nothing yet behind its checkpoint.
                have = rows.statuses(self._db, self._job, [row["_id"] for row in chunk]) if phase == "retry" else {}
                wanted = [row for row in chunk if have.get(row["_id"]) != "succeeded"]
                self._commit(self._score(wanted), have, chunk[-1]["_id"], phase)
            if not states.advance(self._db["jobs"], self._job, {"phase": "sweep", "checkpoint": None}, {}):
                raise Lost
        for chunk in rows.missing(self._db, self._job):
            self._check()
            self._commit(self._score(chunk), {}, None, "sweep")
        self._total = max(self._done, rows.count(self._db, self._job))
        if not states.succeed(self._db["jobs"], self._job, self._progress(self._done, self._failed, self._scored)):
            raise Lost

    def _score(self, chunk: Sequence[Document]) -> list[Document]:
        """The results of a chunk. Between chunks the model may be unloaded, as any that is not needed just then."""
        model, version = self._job["model"], self._job["version"]
        with self._registry.hold(model, version) as live:
            try:
                return score(live, chunk, self._job)
            except ModelNotAvailable:
                self._registry.refresh()
                self._registry.resolve(model, version)  # retired meanwhile: it says so
                raise

    def _wait_for_model(self) -> None:
        """Wait until the version that the job was given for is built and loaded."""
        self._registry.refresh()
        while True:
            self._check()
            version = self._registry.find(self._job["model"], self._job["version"])
            if version.state != "loading":
                self._registry.resolve(self._job["model"], self._job["version"])
                return
            self._registry.refresh()
            self._stop.wait(0.2)
            if not states.renew(self._db["jobs"], self._job):
                raise Lost

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def _commit(
        self, results: list[Document], have: Mapping[ObjectId, str], checkpoint: ObjectId | None, phase: str
    ) -> None:
        """Results and progress together, the progress last: under a stale fence nothing of the chunk lands."""
        replaced = [result["_id"] for result in results if have.get(result["input"]) == "failed"]
        done = self._done + len(results) - len(replaced)
        bad = self._failed + sum(result["status"] == "failed" for result in results) - len(replaced)
        progress = self._progress(done, bad, self._scored + len(results))

        def work(session: ClientSession) -> None:
            if replaced:
                self._db["results"].delete_many({"_id": {"$in": replaced}, "status": "failed"}, session=session)
            if results:
                self._db["results"].insert_many(results, session=session)
            if not states.advance(
                self._db["jobs"], self._job, {"phase": phase, "checkpoint": checkpoint}, progress, session
            ):
                raise Lost

        try:
            transact(self._db.client, work)
        except BulkWriteError as error:
            if any(issue["code"] != DUPLICATE_KEY for issue in error.details["writeErrors"]):
                raise
            # Another worker has these rows: as a rule because the job is its now.
            if not states.renew(self._db["jobs"], self._job):
                raise Lost from None
            there = rows.statuses(self._db, self._job, [result["input"] for result in results])
            absent = [result for result in results if result["input"] not in there]
            if len(absent) == len(results):
                raise
            self._commit(absent, {}, checkpoint, phase)
            return
        failures = sum(result["status"] == "failed" for result in results)
        labels = (self._job["model"], str(self._job["version"]))
        job_rows.labels(*labels, "succeeded").inc(len(results) - failures)
        job_rows.labels(*labels, "failed").inc(failures)
        self._done, self._failed, self._scored = done, bad, self._scored + len(results)

    def _progress(self, done: int, bad: int, scored: int) -> dict[str, Any]:
        seconds = time.monotonic() - self._began
        rate = round(scored / seconds, 1) if scored and seconds > 0 else None
        total = None if self._total is None else max(self._total, done)
        return {"total": total, "done": done, "failed": bad, "rows_per_second": rate}
