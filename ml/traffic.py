"""Whether predictions are being stored just now, anywhere: jobs then take smaller bites of the database.

A prediction waits for its commit, and a commit for the one before it in the database's journal. With 1,024 rows in
each of a job's commits the slowest percent of predictions took four times as long as without the job, with 128 rows
twice as long; alone, the job is a third quicker with the large ones (benchmarks/jobs.py).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

from pymongo import WriteConcern
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.database.client import Document

log = logging.getLogger(__name__)

COLLECTION = "traffic"
#: How often a process says that it stores predictions, how long that holds, and how often it is looked at, in seconds.
NOTE_SECONDS = 1.0
HOLDS_SECONDS = 3.0
LOOK_SECONDS = 1.0


class Traffic:
    """One process' part: it says that there is some, or asks. Nothing is raised, and no journal is waited for."""

    def __init__(self, db: Database[Document]) -> None:
        self._collection = db[COLLECTION].with_options(write_concern=WriteConcern(w=1))
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._noted = False
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._looked = -HOLDS_SECONDS
        self._there = False

    def note(self) -> None:
        """Say that a prediction was stored just now. Another thread writes it: no prediction waits for that."""
        self._noted = True
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._loop, name="traffic", daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """Say nothing more."""
        self._ended.set()

    def is_there(self) -> bool:
        """Whether any process stored predictions in the last seconds."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            recent = {"$expr": {"$gt": ["$at", {"$subtract": ["$$NOW", int(HOLDS_SECONDS * 1000)]}]}}
            try:
                self._there = self._collection.find_one(recent, {"_id": True}) is not None
            except PyMongoError as error:
                log.debug("whether there is traffic cannot be told: %s", error)
        return self._there

    def _loop(self) -> None:
        while True:
            if self._noted:
                self._noted = False
                try:
                    self._collection.update_one({"_id": self._process}, [{"$set": {"at": "$$NOW"}}], upsert=True)
                except Exception as error:  # noqa: BLE001  # a database in memory knows no such update
                    log.debug("that there is traffic cannot be noted: %s", error)
            if self._ended.wait(NOTE_SECONDS):
                return
