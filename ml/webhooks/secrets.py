"""The secret of each owner, by which receivers know that a webhook came from here: made once, shown to its owner."""

from __future__ import annotations

import secrets
from typing import Any

from bson import Binary
from pymongo.client_session import ClientSession
from pymongo.database import Database

from ml.database.client import READ_MS, Document
from ml.database.leases import until
from ml.webhooks.signing import SECRET_BYTES

#: No resource shows this collection.
COLLECTION = "webhook_secrets"
#: How long a secret that was replaced still signs, beside the new one.
OVERLAP_SECONDS = 24 * 3600.0
#: Signatures in one message.
MOST = 5
#: Those that were replaced and still sign.
_VALID = {"$filter": {"input": {"$ifNull": ["$previous", []]}, "cond": {"$gt": ["$$this.until", "$$NOW"]}}}


class Secrets:
    """The collection of secrets: `_id` is the owner."""

    def __init__(self, db: Database[Document]) -> None:
        self._secrets = db[COLLECTION]

    def of(self, owner: str) -> bytes:
        """The owner's secret, which is made where there is none."""
        found = self._secrets.find_one({"_id": owner}, max_time_ms=READ_MS)
        if found is None:
            found = self._secrets.find_one_and_update(
                {"_id": owner}, {"$setOnInsert": {"secret": Binary(_new())}}, upsert=True, return_document=True
            )
        assert found is not None
        return bytes(found["secret"])

    def rotate(self, owner: str, session: ClientSession | None = None) -> bytes:
        """Another secret; the one before signs too for a day."""
        secret = _new()
        before = {"$cond": [{"$eq": [{"$type": "$secret"}, "missing"]}, [], [_previous()]]}
        self._secrets.update_one(
            {"_id": owner},
            [
                {"$set": {"previous": {"$slice": [{"$concatArrays": [before, _VALID]}, MOST - 1]}}},
                {"$set": {"secret": {"$literal": Binary(secret)}}},
            ],
            upsert=True,
            session=session,
        )
        return secret

    def signing(self, owner: str) -> list[bytes]:
        """All of the owner's secrets that sign now, the newest first."""
        # Names of fields, no secrets.
        shown = {"secret": 1, "valid": _VALID}  # nosec B105
        pipeline: list[dict[str, Any]] = [{"$match": {"_id": owner}}, {"$project": shown}]
        for found in self._secrets.aggregate(pipeline, maxTimeMS=READ_MS):
            return [bytes(secret) for secret in (found["secret"], *(older["secret"] for older in found["valid"]))]
        return [self.of(owner)]


def _previous() -> dict[str, Any]:
    return {"secret": "$secret", "until": until(OVERLAP_SECONDS)}  # nosec B105 # a field


def _new() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)
