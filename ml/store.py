"""What the service writes for predictions: inputs and results, many requests in one durable commit."""

from __future__ import annotations

import logging
import queue
import threading
from datetime import datetime
from typing import Any

import numpy as np
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError

from ml.database.client import Document
from ml.database.documents import now, stamp_new
from ml.errors import ExecutionFailed, StorageUnavailable
from ml.results import failed, succeeded
from ml.slots import Record, Slot
from ml.tensors import to_stored

log = logging.getLogger(__name__)

#: Slots in one commit; more wait for the next.
MOST_SLOTS = 256
DUPLICATE_KEY = 11000


class Store:
    """One thread that commits whatever was computed since its last commit, then wakes the requests."""

    def __init__(self, db: Database[Document]) -> None:
        self._db = db
        self._queue: queue.SimpleQueue[list[Slot] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def put(self, slots: list[Slot]) -> None:
        """Take computed slots. Those that store nothing are done at once."""
        waiting = []
        for slot in slots:
            if slot.record is None:
                slot.finish()
            else:
                waiting.append(slot)
        if waiting:
            self._start()
            self._queue.put(waiting)

    def close(self, timeout: float = 30) -> None:
        """Commit what is queued, then end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join(timeout)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="commit", daemon=True)
                self._thread.start()

    def _loop(self) -> None:
        while True:
            taken = self._queue.get()
            if taken is None:
                return
            slots, last = list(taken), False
            while len(slots) < MOST_SLOTS and not last:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                last = more is None
                slots += more or []
            try:
                self._commit(slots)
            except Exception as error:
                log.exception("a commit failed")
                for slot in slots:
                    slot.error = StorageUnavailable(f"the prediction could not be stored: {type(error).__name__}")
            for slot in slots:
                slot.finish()
            if last:
                return

    def _commit(self, slots: list[Slot]) -> None:
        at = now()
        inputs: list[Document] = []
        results: list[Document] = []
        for slot in slots:
            assert slot.record is not None
            if slot.record.store_inputs:
                inputs += input_documents(slot, slot.record, at)
            results += result_documents(slot, slot.record, at)
        try:
            if inputs:
                self._insert("inputs", inputs)
            self._insert("results", results)
        except PyMongoError as error:
            log.warning("%d results were not stored: %s", len(results), error)
            for slot in slots:
                slot.error = StorageUnavailable(f"the prediction could not be stored: {type(error).__name__}")

    def _insert(self, name: str, documents: list[Document]) -> None:
        try:
            self._db[name].insert_many(documents, ordered=False)
        except BulkWriteError as error:
            # Every _id is ours and new: a duplicate is our own write, sent again by the driver.
            if any(issue["code"] != DUPLICATE_KEY for issue in error.details["writeErrors"]):
                raise


def input_documents(slot: Slot, record: Record, at: datetime) -> list[Document]:
    """The rows of a request as documents of `inputs`."""
    assert record.inputs is not None
    names = list(slot.inputs)
    documents = []
    for row in range(slot.rows):
        tensors = {name: to_stored(np.asarray(slot.inputs[name][row])) for name in names}
        document: dict[str, Any] = {
            "_id": record.inputs[row],
            "data": tensors[names[0]] if len(names) == 1 else tensors,
            "model": record.model["model"],
            "source": "predict",
        }
        if record.meta is not None and record.meta[row]:
            document["meta"] = record.meta[row]
        documents.append(stamp_new(document, record.owner, at))
    return documents


def result_documents(slot: Slot, record: Record, at: datetime) -> list[Document]:
    """One document of `results` for each row of a request that was computed, or failed."""
    documents = []
    for row in range(slot.rows):
        document: dict[str, Any] = {"_id": record.results[row], **record.model}
        if record.inputs is not None:
            document["input"] = record.inputs[row]
        if slot.outputs is not None:
            document.update(succeeded(slot.outputs, row, record.classes))
        else:
            code = "execution_failed" if isinstance(slot.error, ExecutionFailed) else "failed"
            document.update(failed(code, str(slot.error)))
        document["timing"] = slot.timing
        document["protocol"] = record.protocol
        if record.request is not None:
            document["request"] = record.request
        if record.meta is not None and record.meta[row]:
            document["meta"] = record.meta[row]
        documents.append(stamp_new(document, record.owners[row] if record.owners else record.owner, at))
    return documents
