"""What clients ask of jobs: a new one, another state or priority."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import ExecutionTimeout

from ml.audit.entries import Entry, owner_in, recorded
from ml.database.client import READ_MS, Document
from ml.database.documents import etag_filter, new_etag, stamp_new
from ml.database.filters import names_field
from ml.database.transactions import end_sessions
from ml.errors import Changed, Invalid, ModelNotAvailable, UnknownDocuments
from ml.jobs import states
from ml.jobs.matching import Matching, matching
from ml.registry import Registry

PRIORITY = 5
#: Milliseconds that a change waits for a worker's commit, which take a few.
WAIT_MS = 300


class Jobs:
    """The collection `jobs`, as clients change it."""

    def __init__(self, db: Database[Document], registry: Registry) -> None:
        self._db = db
        self._registry = registry

    def prepare(
        self, job: dict[str, Any], owner: str | None, scope: Mapping[str, Any], *, visible: bool = False
    ) -> dict[str, Any]:
        """Complete what a client asked for into the document to be stored, which is changed and returned.

        The version is resolved now. A filter leaves out what predict stored unless it names `source`. Raises
        UnknownModel, ModelNotAvailable or, for `inputs` outside `scope`, UnknownDocuments; `visible` says that they
        are within it.
        """
        version = self._registry.find(job["model"], job.get("version"), job.get("alias"))
        if version.state in ("failed", "retired"):
            raise ModelNotAvailable(f"{version.name}:{version.number} is {version.state}")
        if job.get("follow") and "inputs" in job:
            raise Invalid("the job does not fit", {"follow": "expected false where inputs are a list of ids, got true"})
        if "inputs" in job and not visible:
            self._check_visible(job["inputs"], scope)
        job.setdefault("priority", PRIORITY)
        job.setdefault("max_attempts", states.MAX_ATTEMPTS)
        job.update(
            version=version.number,
            status="queued",
            progress={"total": None, "done": 0, "failed": 0, "rows_per_second": None},
            attempts=0,
            fence=0,
            phase="scan",
            checkpoint=None,
            # Nobody sees more later than now: what the owner may see is written down with the job.
            scope=dict(scope),
        )
        return stamp_new(job, owner)

    def add(self, job: Document, entry: Entry | None) -> None:
        """Store a job that was prepared."""

        def work(session: ClientSession | None) -> None:
            self._db["jobs"].insert_one(job, session=session)
            if entry is not None:
                entry.write(self._db, [job["_id"]], owner_in(job), session)

        recorded(self._db, entry, work)

    def update(self, before: Mapping[str, Any], changes: dict[str, Any], entry: Entry | None = None) -> Document:
        """Do a client's PATCH on the job that it saw as `before`; the new document.

        Progress does not change the entity tag, a change of status does. Raises WrongState or Changed.
        """
        pipeline: list[dict[str, Any]] = []
        steered = {name: changes[name] for name in states.STEERED if name in changes}
        if steered:
            pipeline.append({"$set": {**steered, "_etag": new_etag(), "_updated": "$$NOW"}})
        wanted = changes.get("status")
        if wanted is not None:
            states.check_wish(before["status"], wanted)
            pipeline += states.wish_update(before["status"], wanted)
        if not pipeline:
            return dict(before)
        seen = {"_id": before["_id"], "status": before["status"], **etag_filter(before["_etag"])}
        found = self._write(seen, pipeline, entry)
        if found is None:
            raise Changed("the job was changed by another")
        return found

    def remove(self, seen: Mapping[str, Any], entry: Entry | None) -> bool:
        """Delete the job that matches; False where there is none."""

        def work(session: ClientSession | None) -> bool:
            found = self._db["jobs"].find_one_and_delete(seen, {"owner": True}, session=session)
            if found is not None and entry is not None:
                entry.write(self._db, [found["_id"]], owner_in(found), session)
            return found is not None

        return recorded(self._db, entry, work)

    def matching(self, where: Mapping[str, Any], scope: Mapping[str, Any], most: int) -> Matching | None:
        """How many inputs in `scope` a job with this filter would be over now; see ml/jobs/matching.py."""
        return matching(self._db, rows_filter({"where": where, "scope": scope}), most)

    def _write(self, seen: Mapping[str, Any], pipeline: list[dict[str, Any]], entry: Entry | None) -> Document | None:
        """Change the job. A worker that died within a commit holds it back: what it left open is ended then."""
        if entry is None:
            return self._write_alone(seen, pipeline)
        held_since = time.monotonic()
        freed = False

        def work(session: ClientSession | None) -> Document | None:
            nonlocal freed
            # Within a transaction a document that another has changed is no wait, but a conflict and another try.
            if not freed and time.monotonic() - held_since > WAIT_MS / 1000:
                freed = True
                self._free(seen)
            found: Document | None = self._db["jobs"].find_one_and_update(
                seen, pipeline, return_document=True, session=session
            )
            if found is not None:
                entry.write(self._db, [found["_id"]], owner_in(found), session)
            return found

        return recorded(self._db, entry, work)

    def _write_alone(self, seen: Mapping[str, Any], pipeline: list[dict[str, Any]]) -> Document | None:
        try:
            return self._db["jobs"].find_one_and_update(seen, pipeline, return_document=True, maxTimeMS=WAIT_MS)
        except ExecutionTimeout:
            self._free(seen)
            return self._db["jobs"].find_one_and_update(seen, pipeline, return_document=True)

    def _free(self, seen: Mapping[str, Any]) -> None:
        job = self._db["jobs"].find_one({"_id": seen["_id"]}, {"sessions": True}, max_time_ms=READ_MS)
        if job is not None and job.get("sessions"):
            end_sessions(self._db, job["sessions"])

    def _check_visible(self, ids: list[ObjectId], scope: Mapping[str, Any]) -> None:
        found = {
            document["_id"]
            for document in self._db["inputs"].find(
                {"$and": [{"_id": {"$in": ids}}, dict(scope)]}, {"_id": True}, max_time_ms=READ_MS
            )
        }
        missing = {f"inputs[{i}]": f"there is no input {id_}" for i, id_ in enumerate(ids) if id_ not in found}
        if missing:
            raise UnknownDocuments("inputs that do not exist", missing)


def rows_filter(job: Mapping[str, Any], ids: Sequence[ObjectId] | None = None) -> dict[str, Any]:
    """The filter over `inputs` for all rows of a job, or for those of its rows that have one of these ids."""
    conditions: list[dict[str, Any]] = [dict(job.get("scope") or {})]
    if ids is None:
        ids = job.get("inputs")
    if ids is not None:
        conditions.append({"_id": {"$in": list(ids)}})
    if job.get("inputs") is None:
        where = job.get("where") or {}
        conditions.append(dict(where))
        if not names_field(where, "source"):
            conditions.append({"source": {"$ne": "predict"}})
    return {"$and": [condition for condition in conditions if condition] or [{}]}


def names_a_tag(where: Mapping[str, Any]) -> bool:
    """Whether a filter is for inputs with a certain tag: there is an index of these, in the order of ids."""
    wanted = where.get("tags")
    if isinstance(wanted, Mapping) and wanted.keys() == {"$eq"}:
        wanted = wanted["$eq"]
    return isinstance(wanted, str) or any(names_a_tag(part) for part in where.get("$and", ()))
