"""The states of a delivery, and every change from one to another: atomic updates with state or claim in the filter."""

from __future__ import annotations

import random
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection as MongoCollection

from ml.database.client import Document
from ml.database.documents import etag_filter, new_etag
from ml.database.leases import until
from ml.errors import WrongState

#: Seconds between an attempt and the next: one attempt more than there are pauses, over a day and a bit.
PAUSES: tuple[float, ...] = (5, 30, 120, 300, 900, 1800, 3600, 7200, 14_400, 28_800, 43_200)
#: Each pause is longer by up to this part of it, so that what failed together does not come back together.
JITTER = 0.2
#: The longest pause that a receiver can ask for.
MOST_SECONDS = 43_200.0
#: How long a worker that says nothing keeps a delivery; an attempt ends well before.
LEASE_SECONDS = 60.0
#: "Gone": the receiver wants no more of this, as Standard Webhooks has it.
GONE = 410

#: What can be sent at all; another program may have written anything.
_SOUND: Document = {name: {"$type": "string"} for name in ("url", "payload")} | {"attempt": {"$type": "number"}}
#: Its time has come, and no worker has it (any more).
_DUE: Document = {"$expr": {"$and": [{"$lte": ["$next_at", "$$NOW"]}, {"$lt": [{"$ifNull": ["$lease", 0]}, "$$NOW"]}]}}


def claim(
    deliveries: MongoCollection[Document], without: Mapping[str, Collection[Any]], lease_seconds: float = LEASE_SECONDS
) -> Document | None:
    """Take the delivery that is due for longest, of those whose fields have none of the values `without`; else None.

    Its attempt is counted here, so that one which kills its worker does not go on for ever.
    """
    others = {name: {"$nin": list(values)} for name, values in without.items() if values}
    return deliveries.find_one_and_update(
        {"status": "queued", **_SOUND, **_DUE, **others},
        [
            {
                "$set": {
                    "attempt": {"$add": ["$attempt", 1]},
                    "claim": secrets.token_hex(12),
                    "lease": until(lease_seconds),
                    **_changed(),
                }
            }
        ],
        sort=[("next_at", 1), ("n", 1)],
        return_document=ReturnDocument.AFTER,
    )


def deliver(deliveries: MongoCollection[Document], delivery: Mapping[str, Any], code: int | None) -> bool:
    """Note that it arrived; False where the delivery is not this claim's any more."""
    return _settle(deliveries, delivery, "delivered", code, None)


def fail(
    deliveries: MongoCollection[Document],
    delivery: Mapping[str, Any],
    code: int | None,
    error: str,
    pauses: Sequence[float] = PAUSES,
    retry_after: float | None = None,
) -> bool | None:
    """Note that an attempt failed: whether it is tried again, or None where it is not this claim's any more.

    It is not where it was the last attempt, nor where the receiver said that it is gone.
    """
    attempt = int(delivery["attempt"])
    if attempt > len(pauses) or code == GONE:
        return False if _settle(deliveries, delivery, "failed", code, error) else None
    pause = pauses[attempt - 1] * (1 + JITTER * random.random())
    pause = max(pause, min(retry_after or 0.0, MOST_SECONDS))
    return True if _settle(deliveries, delivery, "queued", code, error, until(pause)) else None


def send_again(
    deliveries: MongoCollection[Document],
    before: Mapping[str, Any],
    scope: Mapping[str, Any],
    session: ClientSession | None = None,
) -> Document | None:
    """Queue an ended delivery that a client saw as `before`; None where it is another by now. Raises WrongState."""
    if before.get("status") not in ("delivered", "failed"):
        raise WrongState(f"the delivery is {before.get('status')}; one that is delivered or failed can be sent again")
    seen = {"_id": before["_id"], "status": before["status"], **etag_filter(before["_etag"])}
    return deliveries.find_one_and_update(
        {"$and": [seen, dict(scope)]},
        [
            {"$set": {"status": "queued", "attempt": 0, "next_at": "$$NOW", **_changed()}},
            {"$unset": ["response_code", "error", "claim", "lease"]},
        ],
        return_document=ReturnDocument.AFTER,
        session=session,
    )


def _settle(
    deliveries: MongoCollection[Document],
    delivery: Mapping[str, Any],
    status: str,
    code: int | None,
    error: str | None,
    next_at: Mapping[str, Any] | None = None,
) -> bool:
    """End an attempt; what it does not have of these fields is not there afterwards."""
    fields = {
        "response_code": code if code is not None else "$$REMOVE",
        "error": {"$literal": error} if error is not None else "$$REMOVE",
        "next_at": next_at or "$$REMOVE",
    }
    changes = {"status": status, "claim": "$$REMOVE", "lease": "$$REMOVE", **fields, **_changed()}
    mine = {"_id": delivery["_id"], "claim": delivery["claim"], "status": "queued"}
    return deliveries.update_one(mine, [{"$set": changes}]).matched_count == 1


def _changed() -> dict[str, Any]:
    """Clients see the document as another."""
    return {"_etag": new_etag(), "_updated": "$$NOW"}
