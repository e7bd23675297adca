"""The collection `idempotency`: a document for each key, claimed by one request at a time and kept with its answer.

Every change is one update with the fence in its filter, and the database's clock decides what has run out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from pymongo import ReadPreference, ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from ml.database.client import READ_MS, Document
from ml.database.leases import expired, until
from ml.errors import KeyReused
from ml.idempotency.answers import StoredAnswer, from_document, to_document
from ml.idempotency.claims import Claim, KeyedRequest, first_id
from ml.idempotency.renewal import Renewal

#: How long an answer is kept, from when it was given.
KEEP_SECONDS = 24 * 3600
#: How long a key stays claimed when its process says nothing any more.
LEASE_SECONDS = 15.0
#: The parts of a long answer outlive its key, so that a key which is there has them all.
MARGIN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Pending:
    """A key whose request is under way elsewhere, under this fence."""

    id: ObjectId
    fence: ObjectId


class Keys:
    """Idempotency keys of a database. Methods raise PyMongoError where it cannot be reached."""

    def __init__(self, db: Database[Document], lease_seconds: float = LEASE_SECONDS) -> None:
        # A secondary may not have an answer yet, or parts of it.
        self._keys = db["idempotency"].with_options(read_preference=ReadPreference.PRIMARY)
        self._lease_seconds = lease_seconds
        self._renewal = Renewal(self._keys, lease_seconds)

    def claim(self, asked: KeyedRequest) -> Claim | StoredAnswer | Pending:
        """Take the key where it is new or nobody has it any more; else its answer, or that it is under way.

        A claim is held until `drop`. Raises KeyReused where the key belongs to another request.
        """
        fence = ObjectId()
        document = self._claim(asked, fence)
        if document["fence"] == fence:
            claim = Claim(document["_id"], fence, document["first"], again=document["runs"] > 1)
            self._renewal.hold(claim)
            return claim
        if document["fingerprint"] != asked.fingerprint:
            raise KeyReused("the key was used for another request to this path: take a new key for a new request")
        if document["state"] == "done":
            return from_document(self._keys, document["answer"])
        return Pending(document["_id"], document["fence"])

    def under_way(self, pending: Pending) -> bool:
        """Whether the request is still being answered; False: it is worth claiming the key again."""
        held = {"_id": pending.id, "fence": pending.fence, "state": "pending", "$nor": [expired("lease")]}
        return self._keys.find_one(held, {"_id": True}, max_time_ms=READ_MS) is not None

    def finish(self, claim: Claim, answer: StoredAnswer) -> bool:
        """Keep the answer, durably; False where the key was taken over, and another's answer is the one that counts."""
        document = to_document(self._keys, claim.fence, answer, KEEP_SECONDS + MARGIN_SECONDS)
        done = {"state": "done", "answer": {"$literal": document}, "expires": until(KEEP_SECONDS)}
        return self._keys.update_one(_held(claim), [{"$set": done}, {"$unset": ["lease"]}]).matched_count == 1

    def let_go(self, claim: Claim) -> None:
        """Let the same request be run again at once. It makes the same `_id`s, since some may be stored."""
        self._keys.update_one(_held(claim), {"$unset": {"lease": ""}})

    def forget(self, claim: Claim) -> None:
        """Free the key for any request, since this one was refused and nothing of it is stored."""
        self._keys.delete_one(_held(claim))

    def drop(self, claim: Claim) -> None:
        """Renew its lease no longer."""
        self._renewal.drop(claim)

    def close(self) -> None:
        """End the renewals."""
        self._renewal.close()

    def _claim(self, asked: KeyedRequest, fence: ObjectId) -> Document:
        update = _claiming(asked, fence, self._lease_seconds)
        while True:
            try:
                found = self._keys.find_one_and_update(
                    {"_id": asked.id}, update, upsert=True, return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError:
                continue  # two made it at once
            assert found is not None  # it is made where it is not there
            return found


def _held(claim: Claim) -> Document:
    return {"_id": claim.id, "fence": claim.fence, "state": "pending"}


def _claiming(asked: KeyedRequest, fence: ObjectId, lease_seconds: float) -> list[dict[str, Any]]:
    """The update that makes a key, takes over one that nobody has any more, and leaves any other as it is."""
    # MongoDB removes what is over a minute late; until then it is as good as gone.
    absent = {"$lte": [{"$ifNull": ["$expires", 0]}, "$$NOW"]}
    taken = {"state": "pending", "fence": fence, "lease": until(lease_seconds)}
    new = {
        "_id": "$_id",
        **{name: {"$literal": getattr(asked, name)} for name in ("owner", "path", "key", "fingerprint")},
        "first": first_id(),
        "runs": 1,
        **taken,
        "expires": until(KEEP_SECONDS),
    }
    free = {
        "$and": [
            {"$eq": ["$state", "pending"]},
            {"$eq": ["$fingerprint", asked.fingerprint]},
            expired("lease")["$expr"],
        ]
    }
    over = {"$mergeObjects": ["$$ROOT", {**taken, "runs": {"$add": ["$runs", 1]}}]}
    return [{"$replaceWith": {"$cond": [absent, new, {"$cond": [free, over, "$$ROOT"]}]}}]
