"""Predictions in the database: found by id, listed, and shown with their rows and results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from ml.database.client import READ_MS, Document
from ml.database.documents import identity
from ml.database.indexes import ALL_PREDICTIONS, OWNERS_PREDICTIONS
from ml.jobs.scoring import result_ids
from ml.jobs.states import ENDED
from ml.replicate.shape import facts_of, input_of, prediction_object

#: Jobs' and results' `protocol`.
PROTOCOL = "replicate"
#: What is read of a job.
FIELDS = dict.fromkeys(
    (
        "model", "version", "status", "progress", "error", "started", "ended", "overdue", "inputs", "owner",
        "prediction", "_created", "_etag",
    ),
    True,
)  # fmt: skip

#: A prediction's place in lists: when it was created, and its job's id.
PredictionPlace = tuple[datetime, ObjectId]


class Predictions:
    """Jobs that Replicate's routes made. What a caller may see of them is a filter over `jobs`: its `scope`."""

    def __init__(self, db: Database[Document]) -> None:
        self._db = db

    def find(self, id_: str, owner: str, scope: Mapping[str, Any]) -> Document | None:
        """The job of a prediction: by the id that `owner` gave it, else by the job's own."""
        ids = [prediction_job_id(owner, id_), *([ObjectId(id_)] if ObjectId.is_valid(id_) else [])]
        query = {"$and": [{"_id": {"$in": ids}, "protocol": PROTOCOL}, dict(scope)]}
        found = {job["_id"]: job for job in self._db["jobs"].find(query, FIELDS, max_time_ms=READ_MS)}
        return next((found[id_] for id_ in ids if id_ in found), None)

    def reload(self, job: Mapping[str, Any]) -> Document | None:
        """A job as it is now; None where it was deleted."""
        return self._db["jobs"].find_one({"_id": job["_id"]}, FIELDS, max_time_ms=READ_MS)

    def beyond(
        self, scope: Mapping[str, Any], place: PredictionPlace | None, most: int, *, back: bool = False
    ) -> list[Document]:
        """Up to `most` predictions, the newest first: those that are older than a place, or with `back` newer.

        Without a place they are the newest.
        """
        forth, compare = (1, "$gt") if back else (-1, "$lt")
        query: Document = {"protocol": PROTOCOL, **scope}
        if place is not None:
            at, id_ = place
            query |= {"_created": {f"{compare}e": at}, "$or": [{"_created": {compare: at}}, {"_id": {compare: id_}}]}
        cursor = self._db["jobs"].find(query, FIELDS, max_time_ms=READ_MS).sort([("_created", forth), ("_id", forth)])
        jobs = list(cursor.hint(OWNERS_PREDICTIONS if "owner" in scope else ALL_PREDICTIONS).limit(most))
        return jobs[::-1] if back else jobs

    def shown(
        self, jobs: Sequence[Mapping[str, Any]], viewer: str | None, base: str, most: int | None = None
    ) -> list[dict[str, Any]]:
        """The objects of jobs, which have `inputs`, for `viewer`; None: for their owners. See `prediction_object`.

        An id that its owner gave is the owner's alone: to administrators the prediction has that of its job.
        """
        rows = {job["_id"]: row for job in jobs if (row := _row_of(job)) is not None}
        results = {
            job["_id"]: ObjectId(result_ids(job["_id"])(rows[job["_id"]]))
            for job in jobs
            if job["_id"] in rows and job.get("status") in ENDED
        }
        names = {rows[job["_id"]]: facts_of(job).get("inputs", []) for job in jobs if job["_id"] in rows}
        # As they come: of long tensors little is kept.
        given = {
            row["_id"]: input_of(row.get("data"), names[row["_id"]], most)
            for row in self._read("inputs", rows.values(), ("data",))
        }
        found = {result["_id"]: result for result in self._read("results", results.values(), ("output", "error"))}
        return [
            prediction_object(
                job,
                _id_for(viewer, job),
                given.get(rows.get(job["_id"])),
                found.get(results.get(job["_id"])),
                base,
                most,
            )
            for job in jobs
        ]

    def _read(self, name: str, ids: Iterable[ObjectId], fields: Sequence[str]) -> Iterable[Document]:
        wanted = list(ids)
        if not wanted:
            return ()
        return self._db[name].find({"_id": {"$in": wanted}}, dict.fromkeys(fields, True), max_time_ms=READ_MS)


def prediction_job_id(owner: str, id_: str) -> ObjectId:
    """The `_id` of the job of a prediction whose id its owner chose: there is one, whoever stores it how often."""
    return identity("prediction", owner, id_)


def _id_for(viewer: str | None, job: Mapping[str, Any]) -> str:
    own = facts_of(job).get("id")
    return own if isinstance(own, str) and viewer in (None, job.get("owner")) else str(job["_id"])


def _row_of(job: Mapping[str, Any]) -> ObjectId | None:
    """The id of its one row; another program may have written anything."""
    inputs = job.get("inputs")
    return inputs[0] if isinstance(inputs, list) and inputs and isinstance(inputs[0], ObjectId) else None
