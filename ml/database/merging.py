"""All owners' documents in the order of time: an index has each owner's, and the database merges these."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from ml.database.client import READ_MS, Document

INDEX = "owner_created"
#: Owners that are merged; of more the database would sort, as it does without this.
MOST_OWNERS = 100


def by_owner(collection: Collection[Document]) -> Document | None:
    """A filter that every document matches, owner by owner; None where there are too many, or no such index."""
    if not isinstance(collection.database.client, MongoClient):  # one in memory has no indexes
        return None
    # From the index alone: one entry of each.
    stages: list[Document] = [{"$group": {"_id": "$owner"}}, {"$limit": MOST_OWNERS + 1}]
    try:
        owners: list[Any] = [group["_id"] for group in collection.aggregate(stages, hint=INDEX, maxTimeMS=READ_MS)]
    except OperationFailure:
        return None
    if len(owners) > MOST_OWNERS:
        return None
    if None not in owners:
        owners.append(None)  # of one that comes meanwhile from another program
    return {"$or": [{"owner": {"$eq": owner}} for owner in owners]}
