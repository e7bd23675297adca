"""Whether the database answers, asked by one thread at a time: probes must not queue up behind one that hangs."""

from __future__ import annotations

import math
import threading
import time

import pymongo
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.database.client import Document

#: How long the database may take to answer, and for how long an answer is given to others, in seconds.
PING_SECONDS = 2.0
FRESH_SECONDS = 0.5


class Liveness:
    """The last sign of life of a database."""

    def __init__(self, db: Database[Document]) -> None:
        self._db = db
        self._asking = threading.Lock()
        self._asked = -math.inf
        self._problem: str | None = "the database was not asked yet"

    def problem(self) -> str | None:
        """Why it does not answer, if it does not."""
        if time.monotonic() - self._asked > FRESH_SECONDS and self._asking.acquire(blocking=False):
            try:
                with pymongo.timeout(PING_SECONDS):
                    self._db.command("ping")
                self._problem = None
            except PyMongoError as error:
                self._problem = f"the database does not answer: {type(error).__name__}"
            finally:
                self._asked = time.monotonic()
                self._asking.release()
        return self._problem
