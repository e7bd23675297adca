"""A thread that renews the leases of all keys whose requests are under way in this process."""

from __future__ import annotations

import logging
import threading

from bson import ObjectId
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from ml.database.client import Document
from ml.database.leases import until
from ml.idempotency.claims import Claim

log = logging.getLogger(__name__)


class Renewal:
    """Holds claims: each one's lease is renewed three times before it would run out, however long its request takes."""

    def __init__(self, keys: Collection[Document], lease_seconds: float) -> None:
        self._keys = keys
        self._lease_seconds = lease_seconds
        self._held: dict[ObjectId, Claim] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def hold(self, claim: Claim) -> None:
        """Renew its lease from now on."""
        with self._lock:
            self._held[claim.fence] = claim
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._loop, name="keys-renewal", daemon=True)
                self._thread.start()

    def drop(self, claim: Claim) -> None:
        """Let its lease run out."""
        with self._lock:
            self._held.pop(claim.fence, None)

    def close(self, timeout: float = 30) -> None:
        """End the thread."""
        with self._lock:
            self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _loop(self) -> None:
        while not self._closed.wait(self._lease_seconds / 3):
            with self._lock:
                held = list(self._held.values())
            if not held:
                continue
            # One that was let go of has no lease, and gets none from a renewal that was on its way.
            ours = {
                "_id": {"$in": [claim.id for claim in held]},
                "fence": {"$in": [claim.fence for claim in held]},
                "state": "pending",
                "lease": {"$exists": True},
            }
            try:
                self._keys.update_many(ours, [{"$set": {"lease": until(self._lease_seconds)}}])
            except PyMongoError as error:
                log.warning("the leases of %d idempotency keys were not renewed: %s", len(held), error)
