"""Jobs that were given a deadline are canceled when it passes: by whichever worker sees it first, also after a crash.

The deadline stands in the job (`cancel_at`) and is by the database's clock. No worker claims a job whose deadline has
passed, and what a worker has not committed when the job is canceled never lands.
"""

from __future__ import annotations

import logging
import threading

from pymongo.database import Database
from pymongo.errors import ExecutionTimeout, PyMongoError

from ml.database.client import Document
from ml.database.indexes import DEADLINES
from ml.database.transactions import end_sessions
from ml.jobs import states

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
#: Jobs in one look.
AT_ONCE = 100
#: Milliseconds that a worker's commit is waited for, which takes a few.
WAIT_MS = 300


class Deadlines:
    """Looks for such jobs in a thread of its own, from `start` to `close`. Several, in any processes, may."""

    def __init__(self, db: Database[Document]) -> None:
        self._db = db
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)

    def start(self) -> None:
        """Look until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                end_overdue(self._db)
            except PyMongoError as error:
                log.warning("jobs whose deadline passed cannot be canceled: %s", error)
            except Exception:
                log.exception("canceling jobs whose deadline passed failed; it goes on")


def end_overdue(db: Database[Document]) -> int:
    """Cancel the jobs whose deadline has passed; how many these were."""
    found = db["jobs"].find(states.OVERDUE, {"sessions": True}).hint(DEADLINES).limit(AT_ONCE)
    return sum(_expire(db, job) for job in found)


def _expire(db: Database[Document], job: Document) -> bool:
    try:
        return states.expire(db["jobs"], job, WAIT_MS)
    except ExecutionTimeout:
        # A worker died within a commit, and holds the job: the next look has it.
        end_sessions(db, job.get("sessions") or [])
        return False
