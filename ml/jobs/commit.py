"""Commits what was scored: a chunk's results and the job's progress in one transaction, under the claim's fence."""

from __future__ import annotations

import time
from typing import Any

from bson import ObjectId
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from ml.database.client import Document
from ml.database.transactions import transact
from ml.erasure.inputs import take_back
from ml.jobs import rows, states
from ml.jobs.heartbeat import Heartbeat
from ml.jobs.memory import Memory
from ml.jobs.rows import Chunk
from ml.jobs.scoring import Results, result_ids
from ml.metrics import job_rows

DUPLICATE_KEY = 11000


class Lost(Exception):
    """The job is not this claim's any more: paused, canceled or taken over. Nothing was written."""


class Committer:
    """Writes the chunks of one claim, in order, one at a time."""

    def __init__(
        self,
        db: Database[Document],
        job: Document,
        session: ClientSession,
        heartbeat: Heartbeat,
        memory: Memory,
    ) -> None:
        self._db = db
        self._job = job
        self._session = session
        self._heartbeat = heartbeat
        self._memory = memory
        self._began = time.monotonic()
        self._scored = 0

    def commit(self, chunk: Chunk, results: Results) -> None:
        """Make a chunk's results and mark durable. Raises Lost where the claim does not hold."""
        if not results.documents:
            self._check(states.advance(self._db["jobs"], self._job, chunk.mark, {}))
            return
        count = len(results.documents)
        id_of = result_ids(self._job["_id"])
        replaced = [ObjectId(id_of(id_)) for id_ in results.inputs if id_ in chunk.failed]
        done = self._so_far("done") + count - len(replaced)
        failures = self._so_far("failed") + results.failed - len(replaced)
        progress = self._progress(done, failures, count)
        tell = self._memory.tells()

        def work(session: ClientSession) -> Document | None:
            if replaced:
                self._db["results"].delete_many({"_id": {"$in": replaced}, "status": "failed"}, session=session)
            self._db["results"].insert_many(results.documents, session=session)
            after = states.advance(self._db["jobs"], self._job, chunk.mark, progress, session, tell=tell)
            if after is None:
                raise Lost
            return after

        try:
            after = transact(self._db.client, work, self._session)
        except BulkWriteError as error:
            if any(issue["code"] != DUPLICATE_KEY for issue in error.details["writeErrors"]):
                raise
            self._commit_absent(chunk, results)
            return
        take_back(self._db, results.inputs)
        self._check(after)
        labels = (self._job["model"], str(self._job["version"]))
        job_rows.labels(*labels, "succeeded").inc(count - results.failed)
        job_rows.labels(*labels, "failed").inc(results.failed)
        self._job["progress"] = {**self._job["progress"], **progress}
        self._scored += count

    def ended(self) -> dict[str, Any]:
        """The progress of a job of which nothing is left to do."""
        done = self._so_far("done")
        return {**self._progress(done, self._so_far("failed"), 0), "total": done}

    def _so_far(self, name: str) -> int:
        return self._job["progress"][name] or 0

    def _commit_absent(self, chunk: Chunk, results: Results) -> None:
        """Some of the rows have results: as a rule another worker's, because the job is its now."""
        self._check(states.advance(self._db["jobs"], self._job, {}, {}))
        absent = set(rows.without_result(self._db, self._job, results.inputs))
        if len(absent) == len(results.inputs):
            raise RuntimeError("results with the ids of this chunk's are another job's")
        self.commit(chunk, results.of(absent))

    def _check(self, after: Document | None) -> None:
        if after is None:
            raise Lost
        self._heartbeat.touch()
        self._memory.heed(after)

    def _progress(self, done: int, failures: int, more: int) -> dict[str, Any]:
        seconds = time.monotonic() - self._began
        scored = self._scored + more
        rate = round(scored / seconds, 1) if scored and seconds > 0 else None
        progress: dict[str, Any] = {"done": done, "failed": failures}
        return progress if rate is None else {**progress, "rows_per_second": rate}
