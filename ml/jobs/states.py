"""The states of a job, and every change from one to another: atomic updates with state or fence in the filter.

A job that is running is held by one worker, or by none for a moment: a worker lets go of it where others wait for their
turn, and whichever worker is free goes on. `lease` and `worker` are set while one holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from ml.database.client import Document
from ml.database.documents import new_etag
from ml.database.leases import expired, until
from ml.errors import WrongState
from ml.jobs.events import noted

#: How long a worker that says nothing keeps its job, where nothing else is set.
LEASE_SECONDS = 15.0
#: Takeovers in a row without a commit between, where a job does not say.
MAX_ATTEMPTS = 3
ENDED = ("succeeded", "failed", "canceled")

#: What a client may ask for, by the state that the job is in.
BY_CLIENT: Mapping[str, tuple[str, ...]] = {
    "queued": ("paused", "canceled"),
    "running": ("paused", "canceled"),
    "paused": ("queued", "canceled"),
    **dict.fromkeys(ENDED, ("queued",)),
}

#: What a worker heeds of a job while it works on it.
STEERED = {"priority": True, "max_rows_per_second": True}

#: Fields of a job that only one which is held has.
_HOLD = ("worker", "lease", "sessions", "before")

_NOT_HELD: Document = {"$unset": list(_HOLD)}
#: The same, and it has no deadline any more.
_ENDED: Document = {"$unset": [*_HOLD, "cancel_at"]}

#: Its deadline passed; a job that has ended has none.
OVERDUE: Document = {
    "$and": [
        {"cancel_at": {"$exists": True}, "status": {"$nin": list(ENDED)}},
        {"$expr": {"$lte": ["$cancel_at", "$$NOW"]}},
    ]
}

#: What a job may be claimed by: it waits, or no worker has it (any more), its time has come, and its deadline has not.
_CLAIMABLE: Document = {
    "$and": [
        {"$or": [{"status": "queued"}, {"status": "running", **expired("lease")}]},
        {"$expr": {"$lte": [{"$ifNull": ["$not_before", 0]}, "$$NOW"]}},
        {"$expr": {"$or": [{"$eq": [{"$type": "$cancel_at"}, "missing"]}, {"$gt": ["$cancel_at", "$$NOW"]}]}},
    ]
}
#: How urgent a job is: twice as much for each priority, and once more for each second that it waits.
_URGENCY: Document = {
    "$multiply": [
        {"$pow": [2, {"$ifNull": ["$priority", 0]}]},
        {"$add": [1, {"$divide": [{"$subtract": ["$$NOW", {"$ifNull": ["$since", "$_created"]}]}, 1000]}]},
    ]
}
_BY_URGENCY: list[Document] = [
    {"$set": {"urgency": _URGENCY}},
    {"$sort": {"urgency": -1, "_created": 1, "_id": 1}},
    {"$limit": 1},
]


def check_wish(current: str, wanted: str) -> None:
    """Raise WrongState unless a client may move a job from `current` to `wanted`."""
    if wanted not in BY_CLIENT[current]:
        raise WrongState(f"the job is {current}; from there it can be {' or '.join(BY_CLIENT[current])}")


def wish_update(current: str, wanted: str) -> list[dict[str, Any]]:
    """The update, for a job in state `current`, that does what a client wants."""
    # A worker that still holds the old fence can commit nothing more.
    fields = _changed(wanted) | {"fence": {"$add": ["$fence", 1]}}
    if wanted == "canceled":
        fields["ended"] = "$$NOW"
    if wanted == "queued":
        fields["since"] = "$$NOW"
    if current in ENDED:
        fields.update({"phase": "retry", "checkpoint": None, "attempts": 0, "arrived": None, "progress.total": None})
    removed = [*_HOLD, "not_before", *(["started", "ended", "error", "overdue"] if current in ENDED else [])]
    if wanted == "canceled":
        removed.append("cancel_at")
    update: list[Document] = [{"$set": fields}, {"$unset": removed}]
    return [*update, noted(wanted)] if wanted == "canceled" else update


def claim(
    jobs: Collection[Document],
    worker: str,
    lease_seconds: float = LEASE_SECONDS,
    sessions: Sequence[Document] = (),
) -> Document | None:
    """Take the most urgent job that waits or whose worker's lease ran out; None where there is none.

    `sessions` are those in which the worker commits. The answer has those of a worker that died as `before`.
    """
    while True:
        found = next(jobs.aggregate([{"$match": _CLAIMABLE}, *_BY_URGENCY, {"$project": {"fence": 1}}]), None)
        if found is None:
            return None
        # Held, and yet to be had: its worker died or sleeps.
        lost = {"$cond": [{"$eq": [{"$type": "$worker"}, "missing"]}, 0, 1]}
        first = {"$eq": ["$status", "queued"]}
        taken = jobs.find_one_and_update(
            {"_id": found["_id"], "fence": found.get("fence"), **_CLAIMABLE},
            [
                {
                    "$set": {
                        "attempts": {"$add": [{"$ifNull": ["$attempts", 0]}, lost]},
                        "_etag": {"$cond": [first, new_etag(), "$_etag"]},
                        "_updated": {"$cond": [first, "$$NOW", "$_updated"]},
                        "before": {"$cond": [lost, "$sessions", "$$REMOVE"]},
                        "begins": {"$and": [first, {"$eq": [{"$type": "$started"}, "missing"]}]},
                    }
                },
                {
                    "$set": {
                        "status": "running",
                        "worker": worker,
                        "lease_seconds": lease_seconds,
                        "lease": until(lease_seconds),
                        "sessions": {"$literal": list(sessions)},
                        "fence": {"$add": [{"$ifNull": ["$fence", 0]}, 1]},
                        "started": {"$ifNull": ["$started", "$$NOW"]},
                    }
                },
                noted("started", "$begins"),
                {"$unset": ["not_before", "begins"]},
            ],
            return_document=ReturnDocument.AFTER,
        )
        if taken is None:
            continue  # another worker was quicker
        if taken["attempts"] < taken.get("max_attempts", MAX_ATTEMPTS):
            return taken
        fail(jobs, taken, f"its worker died {taken['attempts']} times in a row without finishing a chunk")


def pressing(jobs: Collection[Document], job: Mapping[str, Any]) -> bool:
    """Whether another job that can be claimed is more urgent than this one, which was just worked on."""
    found = next(jobs.aggregate([{"$match": _CLAIMABLE}, *_BY_URGENCY, {"$project": {"urgency": 1}}]), None)
    return found is not None and bool(found["urgency"] > 2 ** job.get("priority", 0))


def others(jobs: Collection[Document]) -> bool:
    """Whether there is a job that can be claimed."""
    return jobs.find_one(_CLAIMABLE, {"_id": True}) is not None


def held(job: Mapping[str, Any]) -> dict[str, Any]:
    """The filter that a job matches while it is this claim's."""
    return {"_id": job["_id"], "fence": job["fence"], "status": "running"}


def renew(jobs: Collection[Document], job: Mapping[str, Any]) -> bool:
    """Renew the lease; False where the job is not this claim's any more."""
    return jobs.update_one(held(job), [{"$set": {"lease": _lease(job)}}]).matched_count == 1


def advance(
    jobs: Collection[Document],
    job: Mapping[str, Any],
    fields: Mapping[str, Any],
    progress: Mapping[str, Any],
    session: ClientSession | None = None,
    *,
    tell: bool = False,
) -> Document | None:
    """Write how far a claim has come (`fields`, for example its checkpoint) and renew its lease.

    It is the last write of a chunk's transaction, so that a chunk lands only under a valid fence. With `tell`, its
    webhook hears of the progress. What a client may have changed of it meanwhile is answered; None where the job is
    not this claim's any more.
    """
    changes = {"attempts": 0, "lease": _lease(job), **_literal(fields), **_progress(progress)}
    if "done" in progress and "total" not in progress:  # more came than there were
        known = {"$isNumber": "$progress.total"}
        changes["progress.total"] = {"$cond": [known, {"$max": ["$progress.total", progress["done"]]}, None]}
    update = [{"$set": changes}, *([noted("progress")] if tell else [])]
    return jobs.find_one_and_update(held(job), update, STEERED, session=session)


def let_go(jobs: Collection[Document], job: Mapping[str, Any], fields: Mapping[str, Any], seconds: float = 0.0) -> bool:
    """Leave a running job to whichever worker takes it next, `seconds` from now or later, since others wait.

    `fields` is how far it has come. False where the job is not this claim's any more.
    """
    changes = {"since": "$$NOW", "not_before": until(seconds), **_literal(fields)}
    return jobs.update_one(held(job), [{"$set": changes}, _NOT_HELD]).matched_count == 1


def counted(jobs: Collection[Document], job: Mapping[str, Any], total: int) -> None:
    """Write how many rows a job has, where that is not known yet; whoever holds it."""
    total_or_done = {"$max": [total, "$progress.done"]}
    jobs.update_one(
        {"_id": job["_id"], "status": {"$nin": list(ENDED)}, "progress.total": None},
        [{"$set": {"progress.total": total_or_done}}],
    )


def succeed(jobs: Collection[Document], job: Mapping[str, Any], progress: Mapping[str, Any]) -> bool:
    """End a claim's job well; False where it is not this claim's any more."""
    return _end(jobs, job, _changed("succeeded") | _progress(progress), "succeeded")


def fail(jobs: Collection[Document], job: Mapping[str, Any], reason: str) -> bool:
    """End a job that cannot run at all, with the reason; False where it is not this claim's any more."""
    return _end(jobs, job, _changed("failed") | {"error": {"$literal": reason}}, "failed")


def give_back(jobs: Collection[Document], job: Mapping[str, Any]) -> bool:
    """Put a job back in the queue where it stands, since its worker stops."""
    changes = _changed("queued") | {"since": "$$NOW"}
    return jobs.update_one(held(job), [{"$set": changes}, _NOT_HELD]).matched_count == 1


def expire(jobs: Collection[Document], job: Mapping[str, Any], wait_ms: int) -> bool:
    """Cancel a job whose deadline passed; False where it is not so (any more).

    Raises ExecutionTimeout where a worker's commit holds it for longer than `wait_ms`.
    """
    fields = _changed("canceled") | {"ended": "$$NOW", "overdue": True, "fence": {"$add": ["$fence", 1]}}
    removed = [*_HOLD, "not_before", "cancel_at"]
    update: list[Document] = [{"$set": fields}, {"$unset": removed}, noted("canceled")]
    found = jobs.find_one_and_update({"_id": job["_id"], **OVERDUE}, update, {"_id": True}, maxTimeMS=wait_ms)
    return found is not None


def _end(jobs: Collection[Document], job: Mapping[str, Any], changes: Document, event: str) -> bool:
    update: list[Document] = [{"$set": {"ended": "$$NOW", **changes}}, _ENDED, noted(event)]
    return jobs.update_one(held(job), update).matched_count == 1


def _changed(status: str) -> dict[str, Any]:
    """The fields that change with the state: clients see the document as another."""
    return {"status": status, "_etag": new_etag(), "_updated": "$$NOW"}


def _lease(job: Mapping[str, Any]) -> dict[str, Any]:
    return until(job.get("lease_seconds", LEASE_SECONDS))


def _progress(progress: Mapping[str, Any]) -> dict[str, Any]:
    return {f"progress.{name}": value for name, value in progress.items()}


def _literal(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Values that are no expressions, whatever is in them."""
    return {name: {"$literal": value} for name, value in fields.items()}
