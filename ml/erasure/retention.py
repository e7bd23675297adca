"""Records go after a time: MongoDB itself removes what is older, by the stamps that every document of ours has."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from ml.database.client import Document
from ml.database.indexes import INDEX_NOT_FOUND
from ml.jobs.states import ENDED

log = logging.getLogger(__name__)

#: The name of the indexes by which MongoDB removes what is old.
INDEX = "retention"
#: Collections that hold records, the time that counts, and which of the documents; models are none.
RECORDS: dict[str, tuple[str, dict[str, Any]]] = {
    "inputs": ("_created", {}),
    "results": ("_created", {}),
    "deliveries": ("_created", {}),
    "jobs": ("_updated", {"status": {"$in": list(ENDED)}}),
    # These go after a day in any case.
    "uploads.files": ("_created", {}),
    "uploads.chunks": ("_created", {}),
    # What tells of records goes as they do; what tells of models, keys, users and erasure stays.
    "audit": ("_created", {"resource": {"$in": ["inputs", "results", "deliveries", "jobs", "files"]}}),
}
#: Seconds between two looks for inputs that another program stored without stamps.
PERIOD = 600.0


def keep_for(db: Database[Document], days: float | None) -> None:
    """Let records of more than so many days go from now on; None: keep them, and no index for it costs a write."""
    for name, (field, which) in RECORDS.items():
        found = db[name].index_information().get(INDEX)
        before = None if found is None else (found.get("expireAfterSeconds"), found.get("partialFilterExpression", {}))
        wanted = None if days is None else (int(days * 86_400), which)
        if before == wanted:
            continue
        if before is not None:
            _drop(db, name)  # to change it in place takes more rights than ours
        if wanted is not None:
            options: dict[str, Any] = {"partialFilterExpression": which} if which else {}
            db[name].create_index([(field, 1)], name=INDEX, expireAfterSeconds=wanted[0], **options)


def remove_unstamped(db: Database[Document], days: float) -> int:
    """Remove inputs without stamps whose ids are of more than so many days ago; how many there were."""
    before = ObjectId.from_datetime(datetime.now(UTC) - timedelta(days=days))
    return db["inputs"].delete_many({"_id": {"$lt": before}, "_created": {"$exists": False}}).deleted_count


class Retention:
    """Sees to it in the background, as long as the process runs."""

    def __init__(self, db: Database[Document], days: float | None) -> None:
        self._db = db
        self._days = days
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="retention", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def _loop(self) -> None:
        told = False
        while True:
            try:
                keep_for(self._db, self._days)
                if self._days is None:
                    return
                remove_unstamped(self._db, self._days)
                told = False
            except PyMongoError as error:
                if not told:
                    log.warning("records may be kept for longer than they should: %s", error)
                told = True
            if self._stop.wait(PERIOD):
                return


def _drop(db: Database[Document], name: str) -> None:
    try:
        db[name].drop_index(INDEX)
    except OperationFailure as error:
        if error.code != INDEX_NOT_FOUND:  # another process was first
            raise
