"""What is taken away for good: an input and everything that was made of it, also what is being made meanwhile.

A result that a job or a prediction commits while its input is deleted would be left behind: neither sees the other's
write. So the delete leaves the input's id in `erased` for a while (ERASED_SECONDS); who commits
results of stored inputs looks there afterwards, and who deletes looks for results once more afterwards. One of the two
sees the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId
from pymongo.client_session import ClientSession
from pymongo.database import Database

from ml.audit.entries import Entry, owner_in
from ml.database.client import Document
from ml.database.documents import now
from ml.database.transactions import transact


def erase_input(db: Database[Document], seen: Mapping[str, Any], input_: ObjectId, entry: Entry | None = None) -> bool:
    """Delete the input with its results, all or nothing; False where it does not match `seen` any more."""

    def work(session: ClientSession) -> bool:
        found = db["inputs"].find_one_and_delete(
            {"$and": [{"_id": input_}, dict(seen)]}, {"owner": True}, session=session
        )
        if found is None:
            return False
        db["results"].delete_many({"input": input_}, session=session)
        db["erased"].replace_one({"_id": input_}, {"at": now()}, upsert=True, session=session)
        if entry is not None:
            entry.write(db, [input_], owner_in(found), session)
        return True

    if not transact(db.client, work, patient=False):
        return False
    db["results"].delete_many({"input": input_})  # what was committed beside the transaction
    return True


def take_back(db: Database[Document], inputs: Sequence[ObjectId]) -> None:
    """Delete the results of those of the inputs that were erased; to be called after results of them were stored."""
    # As a rule nothing was, which is told more quickly than of a thousand ids that none of them is there.
    if db["erased"].find_one({}, {"_id": True}) is None:
        return
    erased = [document["_id"] for document in db["erased"].find({"_id": {"$in": list(inputs)}}, {"_id": True})]
    if erased:
        db["results"].delete_many({"input": {"$in": erased}})
