"""What clients ask of webhooks: a URL that may be used, a delivery sent again, their secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import ObjectId
from pymongo.database import Database

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

    def rotate(self, owner: str) -> str:
        """Another secret for the owner; the one before signs too for a day."""
        return shown(self._secrets.rotate(owner))

    def send_again(self, before: Mapping[str, Any], scope: Mapping[str, Any]) -> Document:
        """Queue a delivery that a client saw as `before`. Raises WrongState or Changed."""
        found = deliveries.send_again(self._db["deliveries"], before, scope)
        if found is None:
            raise Changed("the delivery was changed by another")
        return found

    def take_notes(self, job: ObjectId) -> None:
        """Make deliveries of what is still noted in a job, which is deleted next."""
        found = self._db["jobs"].find_one({"_id": job, "outbox.0": {"$exists": True}}, max_time_ms=READ_MS)
        if found is not None:
            outbox.move(self._db, found)
