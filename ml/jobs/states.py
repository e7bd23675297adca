"""The states of a job, and every change from one to another: atomic updates with state or fence in the filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from ml.database.client import Document
from ml.database.documents import new_etag
from ml.database.leases import expired, until
from ml.errors import WrongState

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

_NO_WORKER = {"worker": "", "lease": ""}


def check_wish(current: str, wanted: str) -> None:
    """Raise WrongState unless a client may move a job from `current` to `wanted`."""
    if wanted not in BY_CLIENT[current]:
        raise WrongState(f"the job is {current}; from there it can be {' or '.join(BY_CLIENT[current])}")


def wish_update(current: str, wanted: str) -> list[dict[str, Any]]:
    """The update, for a job in state `current`, that does what a client wants."""
    fields: dict[str, Any] = {"status": wanted, "_etag": new_etag(), "_updated": "$$NOW"}
    # A worker that still holds the old fence can commit nothing more.
    fields["fence"] = {"$add": ["$fence", 1]}
    if wanted == "canceled":
        fields["ended"] = "$$NOW"
    if current in ENDED:
        fields.update(phase="retry", checkpoint=None, attempts=0)
    removed = ["worker", "lease", *(["ended", "error"] if current in ENDED else [])]
    return [{"$set": fields}, {"$unset": removed}]


def claim(jobs: Collection[Document], worker: str) -> Document | None:
    """Take the next job that is queued, or whose worker's lease ran out; None where there is none."""
    running: dict[str, Any] = {
        "status": "running",
        "worker": worker,
        "lease": until(LEASE_SECONDS),
        "fence": {"$add": [{"$ifNull": ["$fence", 0]}, 1]},
        "started": {"$ifNull": ["$started", "$$NOW"]},
        "_updated": "$$NOW",
    }
    order = [("priority", -1), ("_created", 1)]
    found = jobs.find_one_and_update(
        {"status": "queued"},
        [{"$set": {**running, "_etag": new_etag()}}],
        sort=order,
        return_document=ReturnDocument.AFTER,
    )
    if found is not None:
        return found
    while True:
        found = jobs.find_one_and_update(
            {"status": "running", **expired("lease")},
            [{"$set": {**running, "attempts": {"$add": [{"$ifNull": ["$attempts", 0]}, 1]}}}],
            sort=order,
            return_document=ReturnDocument.AFTER,
        )
        if found is None or found["attempts"] < found.get("max_attempts", MAX_ATTEMPTS):
            return found
        fail(jobs, found, f"its worker died {found['attempts']} times in a row without finishing a chunk")


def held(job: Mapping[str, Any]) -> dict[str, Any]:
    """The filter that a job matches while it is this claim's."""
    return {"_id": job["_id"], "fence": job["fence"], "status": "running"}


def renew(jobs: Collection[Document], job: Mapping[str, Any]) -> bool:
    """Renew the lease; False where the job is not this claim's any more."""
    return jobs.update_one(held(job), [{"$set": {"lease": until(LEASE_SECONDS)}}]).matched_count == 1


def advance(
    jobs: Collection[Document],
    job: Mapping[str, Any],
    checkpoint: ObjectId | None,
    progress: Mapping[str, Any],
    session: ClientSession | None = None,
    phase: str | None = None,
) -> bool:
    """Write how far a claim has come and renew its lease; False where the job is not this claim's any more.

    It is the last write of a chunk's transaction, so that a chunk lands only under a valid fence.
    """
    fields: dict[str, Any] = {"checkpoint": checkpoint, "attempts": 0, "lease": until(LEASE_SECONDS)}
    fields.update({f"progress.{name}": value for name, value in progress.items()})
    if phase is not None:
        fields["phase"] = phase
    found = jobs.find_one_and_update(held(job), [{"$set": fields}], {"_id": True}, session=session)
    return found is not None


def succeed(jobs: Collection[Document], job: Mapping[str, Any], progress: Mapping[str, Any]) -> bool:
    """End a claim's job well; False where it is not this claim's any more."""
    fields: dict[str, Any] = {"status": "succeeded", "ended": "$$NOW", "_etag": new_etag(), "_updated": "$$NOW"}
    fields.update({f"progress.{name}": value for name, value in progress.items()})
    return jobs.update_one(held(job), [{"$set": fields}, {"$unset": list(_NO_WORKER)}]).matched_count == 1


def fail(jobs: Collection[Document], job: Mapping[str, Any], reason: str) -> bool:
    """End a job that cannot run at all, with the reason; False where it is not this claim's any more."""
    fields = {
        "status": "failed",
        "error": {"$literal": reason},
        "ended": "$$NOW",
        "_etag": new_etag(),
        "_updated": "$$NOW",
    }
    return jobs.update_one(held(job), [{"$set": fields}, {"$unset": list(_NO_WORKER)}]).matched_count == 1


def give_back(jobs: Collection[Document], job: Mapping[str, Any]) -> bool:
    """Put a job back in the queue where it stands, since its worker stops."""
    fields = {"status": "queued", "_etag": new_etag(), "_updated": "$$NOW"}
    return jobs.update_one(held(job), [{"$set": fields}, {"$unset": list(_NO_WORKER)}]).matched_count == 1
