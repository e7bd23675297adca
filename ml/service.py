"""predict(), the one function that routes, dialects and the command line call; and the parts that it is made of."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bson import ObjectId
from numpy.typing import NDArray
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.admission import Admission as Admission
from ml.batcher import MAX_BATCH, QUEUE_LIMIT
from ml.builder import Builder
from ml.builder import BuildLimits as BuildLimits
from ml.catalog import Catalog
from ml.database.client import Document
from ml.database.liveness import Liveness
from ml.errors import (
    DeadlineExceeded,
    ExecutionFailed,
    Invalid,
    ModelNotAvailable,
    StorageUnavailable,
    UnknownDocuments,
    listed,
)
from ml.idempotency.answers import StoredAnswer as StoredAnswer
from ml.idempotency.claims import Claim as Claim
from ml.idempotency.claims import KeyedRequest as KeyedRequest
from ml.idempotency.former import former_run
from ml.idempotency.keys import Keys as Keys
from ml.idempotency.keys import Pending as Pending
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
from ml.registry import Registry
from ml.results import labels_and_scores
from ml.signature import Signature as Signature
from ml.slots import Record, Slot
from ml.store import Store
from ml.tensors import TensorIssues, parse_instances, stack_stored
from ml.webhooks.requests import Webhooks as Webhooks

Storing = Literal["all", "result", "none"]

#: How many requests may be inside predict at once, where nothing is said.
PLACES = 56
WAITS = 16

#: The states of a job, those in which it has ended, and those that a client may ask for.
JOB_STATES = tuple(BY_CLIENT)
JOB_ENDED = ENDED
JOB_WISHES = tuple(sorted({wish for wishes in BY_CLIENT.values() for wish in wishes}))
#: What a job's webhook can be told of.
JOB_EVENTS = EVENTS


@dataclass(slots=True)  # a frozen one takes several times as long to make
class Prediction:
    """One request: a model, and either rows as JSON gives them, or the ids of stored inputs."""

    model: str
    version: int | None = None
    alias: str | None = None
    instances: Any = None
    #: The rows where `ml.tensors` has read them against the signature already: every input by name.
    arrays: dict[str, NDArray[Any]] | None = None
    inputs: Sequence[ObjectId] | None = None
    meta: list[dict[str, Any] | None] | None = None
    store: Storing = "all"
    #: Milliseconds until the answer is no longer wanted; None: as the service is set.
    timeout_ms: int | None = None
    outputs: Sequence[str] | None = None
    #: Who asks; stored documents are the asker's.
    owner: str | None = None
    #: What the asker may see of stored inputs, as a filter.
    scope: Mapping[str, Any] = field(default_factory=dict)
    request: str | None = None
    protocol: str = "almanac"
    #: Where it may be sent twice: what gives its documents their ids.
    claim: Claim | None = None


@dataclass(slots=True)
class Answer:
    """What a prediction gave: the outputs by name, first axis the rows in the order asked, and the records' ids."""

    model: str
    version: int
    outputs: dict[str, NDArray[Any]]
    inputs: list[ObjectId] | None
    results: list[ObjectId] | None
    labels: list[dict[str, Any]]
    timing: dict[str, Any]


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
        self.webhooks = Webhooks(db, private_webhooks)
        self.keys = Keys(db)
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
        wanted = _wanted(signature, asked.outputs)
        arrays, rows, owners = self._checked(signature, asked)
        if not isinstance(live, LiveModel):
            live = live.wait(deadline)
        live.used = began
        record = _record(live, asked, rows, owners)
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

    def predict_later(self, asked: Prediction, meant: LiveModel | Load | None = None) -> Document:
        """Check a prediction as `predict` does, then store its rows as inputs and a job over them, all or nothing.

        For stored inputs it is the job alone. The job is for the version that the rows were checked against; its
        document is returned. Raises as `predict`.
        """
        new_id = asked.claim.new_id if asked.claim is not None else ObjectId
        live = meant or self.registry.meant(asked.model, asked.version, asked.alias)
        arrays, rows, _ = self._checked(live.signature, asked)
        stored = asked.inputs is not None
        ids = list(asked.inputs) if asked.inputs is not None else [new_id() for _ in range(rows)]
        job: dict[str, Any] = {"_id": new_id(), "model": live.version.name, "version": live.version.number}
        job["inputs"] = ids
        if asked.request is not None:
            job["request"] = asked.request
        again = asked.claim is not None and asked.claim.again
        if again and (before := self.db["jobs"].find_one({"_id": job["_id"]})) is not None:
            return before  # of an earlier run of this request
        self.jobs.prepare(job, asked.owner, asked.scope, visible=True)
        return submit(self.db, job, None if stored else arrays, asked.meta, asked.owner)

    def change_model(self, before: Mapping[str, Any], changes: dict[str, Any]) -> None:
        """Write a client's changes to a version; see `Catalog.update`. What they make of names holds here at once."""
        aliases = changes.get("aliases")
        if aliases is not None and before["state"] != "available":
            aliases = None  # they move when it is built, or not at all
        with self.registry.changing((before["name"], before["version"]), aliases):
            self.catalog.update(before, changes)

    def retire_model(self, before: Mapping[str, Any]) -> None:
        """Take a version out of service; see `Catalog.retire`."""
        with self.registry.changing((before["name"], before["version"]), None, retired=True):
            self.catalog.retire(before)

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
            outputs={name: former.outputs[name] for name in _wanted(former.signature, asked.outputs)},
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

    def _checked(
        self, signature: Signature, asked: Prediction
    ) -> tuple[dict[str, NDArray[Any]], int, list[str | None] | None]:
        """The rows, held against the signature; how many they are; and their owners, where they are stored inputs."""
        arrays, owners = self._rows(signature, asked)
        rows = len(next(iter(arrays.values())))
        if asked.meta is not None and len(asked.meta) != rows:
            raise Invalid("the request does not fit", {"meta": f"expected {rows} objects, got {len(asked.meta)}"})
        return arrays, rows, owners

    def _rows(self, signature: Signature, asked: Prediction) -> tuple[dict[str, NDArray[Any]], list[str | None] | None]:
        try:
            if asked.arrays is not None:
                return asked.arrays, None
            if asked.inputs is None:
                return parse_instances(asked.instances, signature), None
            documents = self._stored(asked.inputs, asked.scope)
            arrays = stack_stored(documents, signature, [f"inputs[{i}]" for i in range(len(documents))])
            return arrays, [document.get("owner") for document in documents]
        except TensorIssues as error:
            raise Invalid("the rows do not fit the model", error.issues) from None

    def _stored(self, ids: Sequence[ObjectId], scope: Mapping[str, Any]) -> list[Document]:
        try:
            found = {
                document["_id"]: document
                for document in self.db["inputs"].find({"$and": [{"_id": {"$in": list(set(ids))}}, dict(scope)]})
            }
        except PyMongoError as error:
            raise StorageUnavailable(f"the inputs cannot be read: {type(error).__name__}") from error
        missing = {f"inputs[{i}]": f"there is no input {id_}" for i, id_ in enumerate(ids) if id_ not in found}
        if missing:
            raise UnknownDocuments("inputs that do not exist", missing)
        return [found[id_] for id_ in ids]


def _wanted(signature: Signature, outputs: Sequence[str] | None) -> list[str]:
    names = [spec.name for spec in signature.outputs]
    if outputs is None:
        return names
    unknown = [name for name in outputs if name not in names]
    if unknown or not outputs:
        came = listed(unknown) if unknown else "an empty list"
        raise Invalid("the request does not fit", {"outputs": f"expected some of {listed(names)}, got {came}"})
    return list(dict.fromkeys(outputs))


def _record(live: LiveModel, asked: Prediction, rows: int, owners: list[str | None] | None) -> Record | None:
    if asked.store == "none":
        return None
    fresh = asked.inputs is None and asked.store == "all"
    new_id = ObjectId if asked.claim is None else asked.claim.new_id
    return Record(
        model=live.facts,
        owner=asked.owner,
        request=asked.request,
        protocol=asked.protocol,
        meta=asked.meta,
        inputs=[new_id() for _ in range(rows)] if fresh else list(asked.inputs) if asked.inputs is not None else None,
        results=[new_id() for _ in range(rows)],
        store_inputs=fresh,
        classes=live.classes,
        owners=owners,
    )
