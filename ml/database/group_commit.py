"""Inputs and results in one durable commit: two inserts side by side, for about the price of one."""

from __future__ import annotations

from typing import Any

import bson
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import AutoReconnect, BulkWriteError, NetworkTimeout, NotPrimaryError, WriteConcernError, WriteError

from ml.database.client import DURABLE, Document
from ml.database.wire import Insert, insert_at_once

#: A message holds its documents in at most 48 MB, and many of them; more is left to the driver, which cuts it up.
MOST_BYTES = 12 << 20
MOST_DOCUMENTS = 10_000
DUPLICATE_KEY = 11000

#: What a server that is no longer primary, or shuts down, answers (the specification's "node is recovering" too).
NOT_PRIMARY = frozenset({91, 189, 10058, 10107, 11600, 11602, 13435, 13436})


def write_together(db: Database[Document], inputs: list[Document], results: list[Document]) -> None:
    """Insert both, journaled by a majority when this returns. Every `_id` must be new and the caller's own.

    Where the connection breaks or another is elected between, both are written once more; what is there already stays.
    Raises what the driver raises where the database cannot be reached or refuses a document; part may be stored then.
    """
    if not isinstance(db.client, MongoClient):  # a database in memory has no connections
        _insert(db, inputs, results)
        return
    inserts = [
        Insert(name, [bson.encode(document) for document in documents])
        for name, documents in (("inputs", inputs), ("results", results))
        if documents
    ]
    if any(len(i.documents) > MOST_DOCUMENTS or sum(map(len, i.documents)) > MOST_BYTES for i in inserts):
        _insert(db, inputs, results)
        return
    try:
        for reply in insert_at_once(db, inserts, DURABLE.document):
            _check(reply)
    except NetworkTimeout:
        raise  # it has been waited for long enough
    except (AutoReconnect, NotPrimaryError):
        _insert(db, inputs, results)


def _check(reply: dict[str, Any]) -> None:
    """Raise for what an insert's reply tells of, but for our own document come a second time."""
    problem = reply.get("writeConcernError")
    if reply.get("code") in NOT_PRIMARY or (problem and problem.get("code") in NOT_PRIMARY):
        raise NotPrimaryError(str(reply.get("errmsg", problem)), reply)
    if not reply.get("ok"):
        raise WriteError(reply.get("errmsg", "an insert failed"), reply.get("code"), reply)
    errors = [error for error in reply.get("writeErrors", ()) if error["code"] != DUPLICATE_KEY]
    if errors:
        raise WriteError(errors[0].get("errmsg", "an insert failed"), errors[0]["code"], errors[0])
    if problem:
        raise WriteConcernError(problem.get("errmsg", "the write is not durable"), problem.get("code"), problem)


def _insert(db: Database[Document], inputs: list[Document], results: list[Document]) -> None:
    for name, documents in (("inputs", inputs), ("results", results)):
        if documents:
            try:
                db[name].insert_many(documents, ordered=False)
            except BulkWriteError as error:
                # A duplicate is our own write, come a second time.
                if any(issue["code"] != DUPLICATE_KEY for issue in error.details["writeErrors"]):
                    raise
