"""Deliveries as tests make and look at them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from bson import ObjectId

from ml.jobs import states
from ml.webhooks import deliveries, outbox
from tests.receivers import Message
from tests.waiting import until

#: Twelve attempts in the time of one.
QUICK = (0.02,) * len(deliveries.PAUSES)


def a_job(db: Any, url: str, owner: str | None = "alice", **fields: Any) -> dict[str, Any]:
    """A queued job, as it is stored."""
    job = {
        "_id": ObjectId(), "model": "sums", "version": 1, "status": "queued", "priority": 5, "fence": 0, "attempts": 0,
        "progress": {"total": None, "done": 0, "failed": 0, "rows_per_second": None},
        "webhook": {"url": url}, **({"owner": owner} if owner else {}), **fields,
    }  # fmt: skip
    db["jobs"].insert_one(job)
    return job


def a_delivery(db: Any, url: str, **fields: Any) -> dict[str, Any]:
    """A delivery of a job's only event, queued now."""
    job = a_job(db, url, **{"webhook": {"url": url, "events": ["succeeded"]}, **fields})
    claimed = states.claim(db["jobs"], "w")
    assert claimed is not None
    assert states.succeed(db["jobs"], claimed, {"done": 1})
    outbox.move_all(db)
    return found(db, job, "succeeded")


def found(db: Any, job: dict[str, Any], event: str) -> dict[str, Any]:
    delivery = db["deliveries"].find_one({"job": job["_id"], "event": event})
    assert delivery is not None
    return dict(delivery)


def ended(db: Any, delivery: dict[str, Any]) -> dict[str, Any]:
    """The delivery when it is no longer queued."""

    def look() -> dict[str, Any] | None:
        return db["deliveries"].find_one({"_id": delivery["_id"], "status": {"$ne": "queued"}})  # type: ignore[no-any-return]

    return until(look, what=str(db["deliveries"].find_one({"_id": delivery["_id"]}))) or {}


def signatures(message: Message) -> list[str]:
    return [part.removeprefix("v1,") for part in message.headers["webhook-signature"].split(" ")]


def signed_with(secret: bytes, message: Message) -> str:
    """What Standard Webhooks has as the signature of a message, computed from its text alone."""
    content = f"{message.headers['webhook-id']}.{message.headers['webhook-timestamp']}.".encode() + message.body
    return base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
