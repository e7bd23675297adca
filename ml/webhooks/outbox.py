"""From the notes that jobs hold to documents of `deliveries`: each note becomes one, whoever moves it and how often."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError

from ml.database.client import Document
from ml.database.documents import identity, stamp_new
from ml.database.indexes import OUTBOX
from ml.database.leases import expired
from ml.jobs.events import EVENTS
from ml.replicate.messages import is_prediction, message
from ml.webhooks.target import BadTarget, parse

log = logging.getLogger(__name__)

#: Jobs in one look.
AT_ONCE = 100
DUPLICATE_KEY = 11000

#: What a message tells of the job: what it is, then how it was when the event happened.
_FACTS = ("model", "version", "alias", "priority", "owner", "_created")
_STATE = ("status", "progress", "error", "started", "ended")
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_WAITING = {"outbox.0": {"$exists": True}}


def move_all(db: Database[Document]) -> int:
    """Move the notes of the jobs that have waited longest; how many jobs those were."""
    jobs = list(db["jobs"].find(_WAITING, {"where": 0, "inputs": 0, "scope": 0}).hint(OUTBOX).limit(AT_ONCE))
    for job in jobs:
        try:
            move(db, job)
        except PyMongoError as error:
            log.warning("job %s: its webhook's notes could not be moved: %s", job["_id"], error)
    return len(jobs)


def move(db: Database[Document], job: Mapping[str, Any]) -> None:
    """Make deliveries of a job's notes, then take these out of the job.

    A delivery's `_id` is made of job and note: one that was made before a crash is not made again. What is no note, as
    only another program can have written it, is dropped.
    """
    notes = [note for note in _listed(job.get("outbox")) if _is_note(note)]
    made = [delivery for note in notes if (delivery := _delivery(db, job, note)) is not None]
    if made:
        try:
            db["deliveries"].insert_many(made, ordered=False)
        except BulkWriteError as error:
            if any(issue["code"] != DUPLICATE_KEY for issue in error.details["writeErrors"]):
                raise
        _forget_progress(db, job, max(delivery["n"] for delivery in made))
    moved = [element.get("n") for element in _listed(job.get("outbox")) if isinstance(element, Mapping)]
    keep = {"$and": [{"$isNumber": "$$this.n"}, {"$not": [{"$in": ["$$this.n", moved]}]}]}
    rest = {"$cond": [{"$isArray": ["$outbox"]}, {"$filter": {"input": "$outbox", "cond": keep}}, []]}
    db["jobs"].update_one(
        {"_id": job["_id"]},
        [
            {"$set": {"outbox": rest}},
            {"$set": {"outbox": {"$cond": [{"$eq": ["$outbox", []]}, "$$REMOVE", "$outbox"]}}},
        ],
    )


def _forget_progress(db: Database[Document], job: Mapping[str, Any], newest: int) -> None:
    """Progress that was not delivered when the job has gone on says nothing any more.

    Otherwise a receiver that does not answer would be owed more than can ever be sent.
    """
    db["deliveries"].delete_many(
        {"job": job["_id"], "n": {"$lt": newest}, "event": "progress", "status": "queued", **expired("lease")}
    )


def _delivery(db: Database[Document], job: Mapping[str, Any], note: Mapping[str, Any]) -> Document | None:
    """The document of `deliveries` that a note becomes; None where the job no longer has a URL."""
    webhook = job.get("webhook")
    url = webhook.get("url") if isinstance(webhook, Mapping) else None
    if not isinstance(url, str):
        return None
    owner = job.get("owner")
    try:
        host = parse(url).host
    except BadTarget:  # another program's; its attempts will say what is wrong with it
        host = ""
    document = {
        "_id": _identity(job["_id"], note["n"]),
        "job": job["_id"],
        "n": int(note["n"]),
        "event": note["event"],
        "url": url,
        "host": host,
        "attempt": 0,
        "status": "queued",
        "next_at": note["at"],
        # As text, since every attempt sends the same bytes.
        "payload": orjson.dumps(_message(db, job, note), default=_json, option=_OPTIONS).decode(),
    }
    return stamp_new(document, owner if isinstance(owner, str) else None)


def _message(db: Database[Document], job: Mapping[str, Any], note: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name: job[name] for name in _FACTS if name in job}
    state = {name: note[name] for name in _STATE if name in note}
    if is_prediction(job):
        try:
            return message(db, job, state)
        except (TypeError, AttributeError, KeyError):  # another program's; as any other job's
            log.warning("job %s: it is no prediction, and says that it is", job["_id"])
    return {"type": f"job.{note['event']}", "timestamp": note["at"], "data": {"_id": job["_id"], **facts, **state}}


def _is_note(note: Any) -> bool:
    return (
        isinstance(note, Mapping)
        and isinstance(note.get("n"), int)
        and note.get("event") in EVENTS
        and isinstance(note.get("at"), datetime)
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _identity(job: Any, n: int) -> ObjectId:
    return identity("delivery", job if isinstance(job, ObjectId) else repr(job), str(n))


def _json(value: Any) -> Any:
    """Times and bytes as the REST surface has them; whatever else JSON does not know, as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime):
        time = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return time.isoformat(timespec="milliseconds") + "Z"
    return str(value)
