"""What clients ask of webhooks: a URL that may be used, a delivery sent again, their secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import ObjectId
from pymongo.client_session import ClientSession
from pymongo.database import Database

from ml.audit.entries import Entry, owner_in, recorded
from ml.database.client import READ_MS, Document
from ml.errors import Changed
from ml.webhooks import deliveries, outbox, target
from ml.webhooks.secrets import Secrets
from ml.webhooks.signing import shown


class Webhooks:
    """Webhooks as clients see them. `private`: whether URLs may lead to addresses that are not public."""

    def __init__(self, db: Database[Document], private: bool = False) -> None:
        self._db = db
        self._private = private
        self._secrets = Secrets(db)

    def problem(self, url: str) -> str | None:
        """Why nothing can be sent to this URL, as far as it says so itself."""
        try:
            target.check(url, private=self._private)
        except target.BadTarget as error:
            return str(error)
        return None

    def secret(self, owner: str) -> str:
        """The owner's secret, which is made where there is none."""
        return shown(self._secrets.of(owner))

    def rotate(self, owner: str, entry: Entry | None = None) -> str:
        """Another secret for the owner; the one before signs too for a day."""

        def work(session: ClientSession | None) -> bytes:
            secret = self._secrets.rotate(owner, session)
            if entry is not None:
                entry.write(self._db, [], owner, session, count=1)
            return secret

        return shown(recorded(self._db, entry, work))

    def send_again(self, before: Mapping[str, Any], scope: Mapping[str, Any], entry: Entry | None = None) -> Document:
        """Queue a delivery that a client saw as `before`. Raises WrongState or Changed."""

        def work(session: ClientSession | None) -> Document | None:
            found = deliveries.send_again(self._db["deliveries"], before, scope, session)
            if found is not None and entry is not None:
                entry.write(self._db, [found["_id"]], owner_in(found), session)
            return found

        found = recorded(self._db, entry, work)
        if found is None:
            raise Changed("the delivery was changed by another")
        return found

    def take_notes(self, job: ObjectId) -> None:
        """Make deliveries of what is still noted in a job, which is deleted next."""
        found = self._db["jobs"].find_one({"_id": job, "outbox.0": {"$exists": True}}, max_time_ms=READ_MS)
        if found is not None:
            outbox.move(self._db, found)
