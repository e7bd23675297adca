"""What the service writes for predictions: inputs and results, many requests in one durable commit."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml import metrics
from ml.cores import stay
from ml.database.client import Document
from ml.database.documents import now, stamp_new
from ml.database.group_commit import write_together
from ml.erasure.inputs import take_back
from ml.errors import StorageUnavailable
from ml.executors.base import Arrays
from ml.metrics import later
from ml.results import failed, succeeded
from ml.slots import Record, Slot
from ml.tensors import to_stored_rows
from ml.traffic import Traffic

log = logging.getLogger(__name__)

#: Commits that are under way at once: one waits for the journal while the next is made.
COMMITTERS = 2
#: Slots in one commit; more wait for the next.
MOST_SLOTS = 256


class Store:
    """Threads that commit whatever was computed since the last commit, then wake the requests.

    While one commit waits for the journal, another thread makes the next.
    """

    def __init__(self, db: Database[Document]) -> None:
        self._db = db
        self._traffic = Traffic(db)
        self._queue: queue.SimpleQueue[list[Slot] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
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
            if not self._threads:
                self._start()
            self._queue.put(waiting)

    def close(self, timeout: float = 30) -> None:
        """Commit what is queued, then end the threads."""
        self._traffic.close()
        with self._lock:
            threads, self._threads = self._threads, []
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            thread.join(timeout)

    def _start(self) -> None:
        with self._lock:
            if not self._threads:
                self._threads = [
                    threading.Thread(target=self._loop, name=f"commit-{n}", daemon=True) for n in range(COMMITTERS)
                ]
                for thread in self._threads:
                    thread.start()

    def _loop(self) -> None:
        last = False
        while not last:
            taken = self._queue.get()
            stay()
            if taken is None:
                return
            slots = list(taken)
            while len(slots) < MOST_SLOTS:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                    break
                slots += more
            try:
                self._commit(slots)
            except Exception as error:  # the thread must outlive any one commit
                level = logging.WARNING if isinstance(error, PyMongoError) else logging.ERROR
                log.log(
                    level, "%d predictions were not stored: %s", len(slots), error, exc_info=level > logging.WARNING
                )
                for slot in slots:
                    slot.error = StorageUnavailable(f"the prediction could not be stored: {type(error).__name__}")
            for slot in slots:
                slot.finish()
            self._traffic.note()

    def _commit(self, slots: list[Slot]) -> None:
        at = now()
        inputs: list[Document] = []
        results: list[Document] = []
        for slot in slots:
            assert slot.record is not None
            if slot.record.store_inputs:
                inputs += _inputs(slot, slot.record, at)
            results += result_documents(slot, slot.record, at)
        began = time.monotonic()
        write_together(self._db, inputs, results)
        if scored := [id_ for slot in slots for id_ in _scored(slot)]:
            take_back(self._db, scored)
        later(metrics.commit_seconds.observe, time.monotonic() - began)
        later(metrics.commit_rows.observe, len(results))


def _scored(slot: Slot) -> list[ObjectId]:
    """The inputs of a slot that were stored before: somebody may have deleted them meanwhile."""
    record = slot.record
    return record.inputs if record is not None and record.inputs is not None and not record.store_inputs else []


def _inputs(slot: Slot, record: Record, at: datetime) -> list[Document]:
    assert record.inputs is not None
    return input_documents(slot.inputs, record.inputs, record.model["model"], record.meta, record.owner, at)


def input_documents(
    arrays: Arrays,
    ids: Sequence[ObjectId],
    model: str,
    meta: Sequence[Mapping[str, Any] | None] | None,
    owner: str | None,
    at: datetime,
) -> list[Document]:
    """The rows of a request for a model as documents of `inputs`, one for each id."""
    tensors = {name: to_stored_rows(array) for name, array in arrays.items()}
    sole = next(iter(tensors.values())) if len(tensors) == 1 else None
    documents = []
    for row, id_ in enumerate(ids):
        document: dict[str, Any] = {
            "_id": id_,
            "data": sole[row] if sole is not None else {name: stored[row] for name, stored in tensors.items()},
            "model": model,
            "source": "predict",
        }
        if meta is not None and meta[row]:
            document["meta"] = meta[row]
        documents.append(stamp_new(document, owner, at))
    return documents


def result_documents(slot: Slot, record: Record, at: datetime) -> list[Document]:
    """One document of `results` for each row of a request that was computed, or failed."""
    documents = []
    timing = slot.timing
    computed = [] if slot.outputs is None else succeeded(slot.outputs, slot.rows, record.classes)
    for row in range(slot.rows):
        document: dict[str, Any] = {"_id": record.results[row], **record.model}
        if record.inputs is not None:
            document["input"] = record.inputs[row]
        if row in slot.failures or not computed:
            document.update(failed("execution_failed", slot.failures.get(row, "the model gave nothing")))
        else:
            document.update(computed[row])
        document["timing"] = timing
        document["protocol"] = record.protocol
        if record.request is not None:
            document["request"] = record.request
        if record.meta is not None and record.meta[row]:
            document["meta"] = record.meta[row]
        documents.append(stamp_new(document, record.owners[row] if record.owners else record.owner, at))
    return documents
