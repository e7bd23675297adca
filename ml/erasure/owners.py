"""Takes away for good everything that is an owner's, in every collection and in the stored files."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from bson import ObjectId
from pymongo import ReplaceOne
from pymongo.database import Database

from ml.audit.entries import COLLECTION as AUDIT
from ml.audit.entries import Entry
from ml.audit.refusals import erased_id
from ml.catalog import Catalog
from ml.database.client import Document
from ml.database.documents import now
from ml.errors import Changed, WrongState
from ml.jobs.requests import Jobs
from ml.jobs.states import ENDED

#: Documents that are deleted at once.
AT_ONCE = 1000
#: Collections whose documents have an `owner` and nothing that hangs on them, in the order in which they go.
OWNED = ("results", "deliveries", "idempotency", "uploads.files", "uploads.chunks", "keys")
#: Collections of which one document is the owner's own, by this field.
OWN = {"webhook_secrets": "_id", "users": "name"}


class Erased(NamedTuple):
    """What a step took away."""

    collection: str
    documents: int


class Erasure:
    """One owner's. It may be ended at any time and begun anew: what is gone is gone, and what is left is found.

    Entries of the audit stay, under a name that is nobody's; the one that tells of this has it too.
    """

    def __init__(self, db: Database[Document], jobs: Jobs, owner: str, entry: Entry | None = None) -> None:
        self._db = db
        self._jobs = jobs
        self._owner = owner
        self._mine = {"owner": owner}
        self._entry = entry
        #: Made at random, so that it leads to nobody.
        self._nobody = f"erased-{secrets.token_hex(6)}"

    def left(self) -> dict[str, int]:
        """How many documents are left, by collection; those with none are left out."""
        counts = {name: self._db[name].count_documents(self._mine) for name in ("models", "jobs", "inputs", *OWNED)}
        counts |= {name: self._db[name].count_documents({field: self._owner}) for name, field in OWN.items()}
        counts["registry"] = self._db["registry"].count_documents(self._mine)
        return {name: count for name, count in counts.items() if count}

    def run(self) -> Iterator[Erased]:
        """Take all of it away, a few documents at a time, until nothing is left."""
        self._tell("erase", sum(self.left().values()))
        # Requests that were refused and are not written down yet: see ml/audit/refusals.py.
        self._db["erased"].replace_one({"_id": erased_id(self._owner)}, {"at": now()}, upsert=True)
        gone = 0
        for step in self._steps():
            gone += step.documents
            yield step
        self._tell("erased", gone)

    def named(self) -> int:
        """How many entries of the audit name the owner."""
        return self._db[AUDIT].count_documents({"$or": [self._mine, {"by.owner": self._owner}]})

    def _tell(self, action: str, count: int) -> None:
        if self._entry is not None:
            replace(self._entry, action=action).write(self._db, [], self._nobody, count=count)

    def _steps(self) -> Iterator[Erased]:
        while self.left() or self.named():
            # First: who has no key makes nothing more.
            yield Erased("sessions", self._end_sessions())
            yield from self._delete("keys")
            for name, field in OWN.items():
                yield Erased(name, self._db[name].delete_many({field: self._owner}).deleted_count)
            yield from self._end_jobs()
            yield from self._erase_inputs()
            for name in OWNED:
                yield from self._delete(name)
            yield from self._erase_models()
            yield from self._delete("jobs")
            yield from self._forget()

    def _forget(self) -> Iterator[Erased]:
        """Let the audit name the owner no more, nor what leads to it: its addresses, keys, requests and documents.

        What others did to its documents, and it to others', stays. Nothing else ever changes an entry.
        """
        did = {
            "$set": {"by.owner": self._nobody},
            "$unset": dict.fromkeys(("by.key", "by.id", "address", "request"), ""),
        }
        was = {"$set": {"owner": self._nobody}, "$unset": dict.fromkeys(("documents", "last"), "")}
        for field, change in (("by.owner", did), ("owner", was)):
            found = {field: self._owner}
            while ids := [d["_id"] for d in self._db[AUDIT].find(found, {"_id": True}).limit(AT_ONCE)]:
                self._db[AUDIT].update_many({"_id": {"$in": ids}}, change)
                yield Erased(AUDIT, 0)

    def _end_jobs(self) -> Iterator[Erased]:
        """Cancel what is not ended, so that no row appears any more."""
        while (job := self._db["jobs"].find_one({**self._mine, "status": {"$nin": [*ENDED, None]}})) is not None:
            try:
                self._jobs.update(job, {"status": "canceled"})
            except (Changed, WrongState):
                continue  # it moves; look again
            yield Erased("jobs", 0)

    def _erase_inputs(self) -> Iterator[Erased]:
        """Inputs, with the results of them, whoever's these are."""
        while ids := self._some("inputs"):
            at = now()
            # Before they go: who is about to store results of them finds it here. See ml/erasure/inputs.py.
            self._db["erased"].bulk_write([ReplaceOne({"_id": id_}, {"at": at}, upsert=True) for id_ in ids])
            count = self._db["inputs"].delete_many({"_id": {"$in": ids}}).deleted_count
            yield Erased("results", self._db["results"].delete_many({"input": {"$in": ids}}).deleted_count)
            yield Erased("inputs", count)

    def _erase_models(self) -> Iterator[Erased]:
        """Versions with their files, and the names, which anyone may have then."""
        catalog = Catalog(self._db)
        for model in self._db["models"].find(self._mine):
            if model["state"] != "retired":
                try:
                    catalog.retire(model)
                except Changed:
                    continue  # in the next round
            yield Erased("models", self._db["models"].delete_one({"_id": model["_id"]}).deleted_count)
        for entry in self._db["registry"].find(self._mine, {"_id": True}):
            if self._db["models"].find_one({"name": entry["_id"]}) is None:
                yield Erased(
                    "registry", self._db["registry"].delete_one({"_id": entry["_id"], **self._mine}).deleted_count
                )
            else:  # an administrator's versions are under it
                self._db["registry"].update_one({"_id": entry["_id"], **self._mine}, {"$unset": {"owner": ""}})

    def _end_sessions(self) -> int:
        """Sessions do not name the owner, but its keys and its user."""
        proofs = [found["_id"] for found in self._db["keys"].find(self._mine, {"_id": True})]
        proofs += [found["_id"] for found in self._db["users"].find({"name": self._owner}, {"_id": True})]
        return self._db["sessions"].delete_many({"proof": {"$in": proofs}}).deleted_count

    def _delete(self, name: str) -> Iterator[Erased]:
        while ids := self._some(name):
            yield Erased(name, self._db[name].delete_many({"_id": {"$in": ids}}).deleted_count)

    def _some(self, name: str) -> list[Any]:
        found: list[ObjectId] = [d["_id"] for d in self._db[name].find(self._mine, {"_id": True}).limit(AT_ONCE)]
        return found
