"""predict(), the one function that routes, dialects and the command line call; and the parts that it is made of."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.admission import Admission as Admission
from ml.audit.entries import Entry
from ml.audit.refusals import Refusals
from ml.batcher import MAX_BATCH, QUEUE_LIMIT
from ml.builder import Builder
from ml.builder import BuildLimits as BuildLimits
from ml.catalog import Catalog
from ml.database.client import READ_MS, Document
from ml.database.liveness import Liveness
from ml.erasure.inputs import erase_input
from ml.erasure.owners import Erasure as Erasure
from ml.errors import (
    DeadlineExceeded,
    ExecutionFailed,
    ModelNotAvailable,
    StorageUnavailable,
)
from ml.idempotency.answers import StoredAnswer as StoredAnswer
from ml.idempotency.claims import Claim as Claim
from ml.idempotency.claims import KeyedRequest as KeyedRequest
from ml.idempotency.former import former_run
from ml.idempotency.keys import Keys as Keys
from ml.idempotency.keys import Pending as Pending
from ml.identity.identity import Identity
from ml.jobs.events import EVENTS
from ml.jobs.predictions import MAX_ROW_BYTES as MAX_ROW_BYTES
from ml.jobs.predictions import submit
from ml.jobs.requests import Jobs
from ml.jobs.states import BY_CLIENT, ENDED
from ml.jobs.watching import Watching as Watching
from ml.live import LiveModel as LiveModel
from ml.loaded import LIVE_MODELS
from ml.loaded import Load as Load
from ml.metrics import count_request as count_request
from ml.metrics import exposition as exposition
from ml.metrics import flush
from ml.prediction import Answer as Answer
from ml.prediction import Prediction as Prediction
from ml.prediction import record_of, wanted_outputs
from ml.prediction_rows import rows_of
from ml.registry import Registry
from ml.replicate.predictions import PredictionPlace as PredictionPlace
from ml.replicate.predictions import Predictions as Predictions
from ml.replicate.predictions import prediction_job_id as prediction_job_id
from ml.replicate.shape import STATUSES
from ml.results import labels_and_scores
from ml.review import WINDOW as WINDOW
from ml.review import Further as Further
from ml.review import Marked as Marked
from ml.review import Marks as Marks
from ml.review import Review as Review
from ml.review import Wanted as Wanted
from ml.review import truth_text as truth_text
from ml.signature import Signature as Signature
from ml.signature import TensorSpec as TensorSpec
from ml.slots import Record, Slot
from ml.statistics import Statistics
from ml.statistics import Totals as Totals
from ml.store import Store
from ml.uploads import Uploads as Uploads
from ml.versions import Version as Version
from ml.webhooks.requests import Webhooks as Webhooks

#: How many requests may be inside predict at once, where nothing is said.
PLACES = 56
WAITS = 16

#: The states of a job, what a client may change each to, those in which it has ended, and all that may be asked for.
JOB_STATES = tuple(BY_CLIENT)
JOB_CHANGES = BY_CLIENT
JOB_ENDED = ENDED
JOB_WISHES = tuple(sorted({wish for wishes in BY_CLIENT.values() for wish in wishes}))
#: What a job's webhook can be told of.
JOB_EVENTS = EVENTS
#: How one of Replicate's predictions can stand.
PREDICTION_STATUSES = STATUSES


@dataclass(frozen=True, slots=True)
class Limits:
    """What the service takes on: rows in one executor call and in a model's queue, requests at once, time for each.

    And how many versions stay loaded beyond those that a replica keeps.
    """

    max_batch: int = MAX_BATCH
    queue_limit: int = QUEUE_LIMIT
    places: int = PLACES
    #: How many of these places may be taken by those who wait for jobs.
    waits: int = WAITS
    deadline_ms: int = 30_000
    live_models: int = LIVE_MODELS


class Service:
    """Everything behind HTTP in one process. `start` makes it follow the database; `close` drains it."""

    def __init__(
        self,
        db: Database[Document],
        cache: Path,
        limits: BuildLimits | None = None,
        serving: Limits | None = None,
        executor: str | None = None,
        private_webhooks: bool = False,
    ) -> None:
        self.db = db
        self.limits = serving or Limits()
        self.admission = Admission(self.limits.places, "predictions")
        self.liveness = Liveness(db)
        self.store = Store(db)
        self.registry = Registry(
            db,
            cache / "artefacts",
            self.store.put,
            self.limits.max_batch,
            self.limits.queue_limit,
            self.limits.live_models,
            executor,
        )
        self.catalog = Catalog(db)
        self.jobs = Jobs(db, self.registry)
        self.predictions = Predictions(db)
        self.webhooks = Webhooks(db, private_webhooks)
        self.statistics = Statistics(db)
        self.uploads = Uploads(db)
        self.keys = Keys(db)
        self.identity = Identity(db)
        self.refusals = Refusals(db)
        self.review = Review(db)
        self.watching = Watching(db, self.limits.waits, self.admission)
        self._builder = Builder(db, cache / "builds", limits or BuildLimits(), executor)

    def start(self, *, keep: bool = True) -> None:
        """Follow the database, build what is to be built and, with `keep`, load what a replica keeps loaded."""
        self.registry.start(keep=keep)
        self._builder.start()

    def close(self) -> None:
        """Answer what is queued, commit it, unload."""
        self.watching.close()
        self._builder.close()
        self.registry.close()
        self.store.close()
        self.keys.close()
        self.identity.close()
        self.refusals.close()
        flush()

    def busy(self) -> int:
        """How many predictions are under way: of those who take a place, the ones that do not just wait."""
        return self.admission.inside() - self.watching.inside()

    def predict(self, asked: Prediction, meant: LiveModel | Load | None = None) -> Answer:
        """Compute, store durably, answer. Raises what ml/errors.py lists, Invalid with an issue per row and input.

        `meant` is the model where the caller has asked the registry already.
        """
        began = time.monotonic()
        timeout = asked.timeout_ms or self.limits.deadline_ms
        deadline = began + timeout / 1000
        live = meant or self.registry.meant(asked.model, asked.version, asked.alias)
        signature = live.signature
        wanted = wanted_outputs(signature, asked.outputs)
        arrays, rows, owners = rows_of(self.db, signature, asked)
        if not isinstance(live, LiveModel):
            live = live.wait(deadline)
        live.used = began
        record = record_of(live, asked, rows, owners)
        if record is not None and asked.claim is not None and asked.claim.again:
            former = self._former_answer(asked, record, began)
            if former is not None:
                return former
        slot = Slot(inputs=arrays, rows=rows, deadline=deadline, record=record)
        try:
            live.batcher.submit(slot)
        except ModelNotAvailable:
            live = self._submit_again(asked, signature, slot)
        if not slot.wait():
            raise DeadlineExceeded(f"no answer within {timeout} ms; the rows may have been stored")
        if slot.error is not None:
            raise slot.error
        failure = slot.failure("instances" if asked.inputs is None else "inputs")
        if failure is not None or slot.outputs is None:
            raise failure or ExecutionFailed("the model gave nothing", {})
        record = slot.record
        return Answer(
            model=live.version.name,
            version=live.version.number,
            outputs={name: slot.outputs[name] for name in wanted},
            inputs=record.inputs if record else (list(asked.inputs) if asked.inputs is not None else None),
            results=record.results if record else None,
            labels=labels_and_scores(slot.outputs, rows, live.classes) or [{}] * rows,
            timing={**slot.timing, "total_ms": round((time.monotonic() - began) * 1000, 3)},
        )

    def predict_later(
        self,
        asked: Prediction,
        meant: LiveModel | Load | None = None,
        entry: Entry | None = None,
        *,
        more: Mapping[str, Any] | None = None,
        cancel_after: float | None = None,
    ) -> Document:
        """Check a prediction as `predict` does, then store its rows as inputs and a job over them, all or nothing.

        For stored inputs it is the job alone. The job is for the version that the rows were checked against; its
        document is returned. It has the fields `more`; where one with the same `_id` is there already, that is
        returned, and nothing stored. After `cancel_after` seconds it is canceled. Raises as `predict`.
        """
        new_id = asked.claim.new_id if asked.claim is not None else ObjectId
        live = meant or self.registry.meant(asked.model, asked.version, asked.alias)
        arrays, rows, _ = rows_of(self.db, live.signature, asked)
        stored = asked.inputs is not None
        ids = list(asked.inputs) if asked.inputs is not None else [new_id() for _ in range(rows)]
        job: dict[str, Any] = {"_id": new_id(), "model": live.version.name, "version": live.version.number}
        job["inputs"] = ids
        job.update(more or {})
        if asked.request is not None:
            job["request"] = asked.request
        again = asked.claim is not None and asked.claim.again
        if again and (before := self.db["jobs"].find_one({"_id": job["_id"]}, max_time_ms=READ_MS)) is not None:
            return before  # of an earlier run of this request
        self.jobs.prepare(job, asked.owner, asked.scope, visible=True)
        return submit(self.db, job, None if stored else arrays, asked.meta, asked.owner, entry, cancel_after)

    def erase_input(self, input_: ObjectId, seen: Mapping[str, Any], entry: Entry | None = None) -> bool:
        """Delete an input with its results; see ml/erasure/inputs.py."""
        return erase_input(self.db, seen, input_, entry)

    def erasure(self, owner: str, entry: Entry | None = None) -> Erasure:
        """What takes away everything of an owner; `entry` tells of it, without the owner."""
        return Erasure(self.db, self.jobs, owner, entry)

    def change_model(self, before: Mapping[str, Any], changes: dict[str, Any], entry: Entry | None = None) -> None:
        """Write a client's changes to a version; see `Catalog.update`. What they make of names holds here at once."""
        aliases = changes.get("aliases")
        if aliases is not None and before["state"] != "available":
            aliases = None  # they move when it is built, or not at all
        with self.registry.changing((before["name"], before["version"]), aliases):
            self.catalog.update(before, changes, entry)

    def retire_model(self, before: Mapping[str, Any], entry: Entry | None = None) -> None:
        """Take a version out of service; see `Catalog.retire`."""
        with self.registry.changing((before["name"], before["version"]), None, retired=True):
            self.catalog.retire(before, entry)

    def signature(self, name: str) -> Signature:
        """The signature of a model's default version. Raises UnknownModel or ModelNotAvailable."""
        version = self.registry.find(name)
        if version.state != "available":
            raise ModelNotAvailable(f"{version.name}:{version.number} is {version.state}")
        return Signature.from_document(version.document)

    def _former_answer(self, asked: Prediction, record: Record, began: float) -> Answer | None:
        """The answer of an earlier run under the same key, where that stored all of its results."""

        def signature_of(version: int) -> Signature:
            return Signature.from_document(self.registry.find(asked.model, version).document)

        try:
            former = former_run(self.db, record.results, signature_of)
        except PyMongoError as error:
            raise StorageUnavailable(f"what was stored before cannot be read: {type(error).__name__}") from error
        if former is None:
            return None
        return Answer(
            model=asked.model,
            version=former.version,
            outputs={name: former.outputs[name] for name in wanted_outputs(former.signature, asked.outputs)},
            inputs=record.inputs,
            results=record.results,
            labels=former.labels,
            timing={**former.timing, "total_ms": round((time.monotonic() - began) * 1000, 3)},
        )

    def _submit_again(self, asked: Prediction, signature: Signature, slot: Slot) -> LiveModel:
        """Where the model was unloaded after it was found: find it once more, and keep it until it has the rows.

        Raises ModelNotAvailable where it is retired.
        """
        with self.registry.hold(asked.model, asked.version, asked.alias, slot.deadline) as live:
            if live.signature != signature:  # the name means another version now
                raise ModelNotAvailable("the version was retired while its request was read: send it again")
            if slot.record is not None:
                slot.record = replace(slot.record, model=live.facts, classes=live.classes)
            live.batcher.submit(slot)
        return live
