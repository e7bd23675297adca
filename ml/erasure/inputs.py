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

from ml.database.client import Document
from ml.database.documents import now
from ml.database.transactions import transact


def erase_input(db: Database[Document], seen: Mapping[str, Any], input_: ObjectId) -> bool:
    """Delete the input with its results, all or nothing; False where it does not match `seen` any more."""

    def work(session: ClientSession) -> bool:
        if db["inputs"].delete_one({"$and": [{"_id": input_}, dict(seen)]}, session=session).deleted_count == 0:
            return False
        db["results"].delete_many({"input": input_}, session=session)
        db["erased"].replace_one({"_id": input_}, {"at": now()}, upsert=True, session=session)
        return True

    if not transact(db.client, work):
        return False
    db["results"].delete_many({"input": input_})  # what was committed beside the transaction
    return True


def take_back(db: Database[Document], inputs: Sequence[ObjectId]) -> None:
    """Delete the results of those of the inputs that were erased; to be called after results of them were stored."""
    erased = [document["_id"] for document in db["erased"].find({"_id": {"$in": list(inputs)}}, {"_id": True})]
    if erased:
        db["results"].delete_many({"input": {"$in": erased}})
