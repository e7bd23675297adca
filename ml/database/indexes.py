"""Collections, the validator on `inputs` and the indexes, each made once and only where it is missing."""

from __future__ import annotations

import logging
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, OperationFailure

from ml.database.client import Document

log = logging.getLogger(__name__)

#: The shape of the documents that this program writes; a database with a newer one is refused.
SHAPE_VERSION = 1

#: Finds jobs whose webhook is to be told something; all others have no entry.
OUTBOX = "outbox"
#: Finds jobs that have a deadline.
DEADLINES = "deadlines"
#: Serve lists of Replicate's predictions.
OWNERS_PREDICTIONS = "owner_predictions"
ALL_PREDICTIONS = "predictions"
#: Deliveries that arrived go after so long.
DELIVERED_SECONDS = 30 * 24 * 3600

#: For how long it is remembered that an input was deleted: nobody works that long on one that was read before.
ERASED_SECONDS = 3600

INDEX_NOT_FOUND = 27
NAMESPACE_EXISTS = 48
UNAUTHORIZED = 13

#: Other programs insert inputs directly; what could never be scored or listed is refused at the door.
INPUTS_VALIDATOR: dict[str, Any] = {
    "$jsonSchema": {
        "required": ["_id", "data"],
        "properties": {"_id": {"bsonType": "objectId"}},
    }
}

INDEXES: dict[str, list[IndexModel]] = {
    "models": [
        IndexModel([("name", ASCENDING), ("version", DESCENDING)], name="name_version", unique=True),
        IndexModel([("state", ASCENDING)], name="state"),
    ],
    "inputs": [
        IndexModel(
            [("owner", ASCENDING), ("tags", ASCENDING), ("model", ASCENDING), ("source", ASCENDING)],
            name="owner_tags_model_source",
        ),
        # A job over a tag reads in the order of ids, and counts from the index alone. What predict stores has no tags.
        IndexModel(
            [("tags", ASCENDING), ("_id", ASCENDING), ("source", ASCENDING), ("owner", ASCENDING)],
            name="tags_id_source_owner",
            partialFilterExpression={"tags": {"$exists": True}},
        ),
    ],
    "results": [
        IndexModel([("input", ASCENDING)], name="input"),
        # Most results are a predict's and have no job; those need no entry.
        IndexModel(
            [("job", ASCENDING), ("input", ASCENDING)],
            name="job_input",
            partialFilterExpression={"job": {"$exists": True}},
        ),
        IndexModel(
            [("model", ASCENDING), ("version", ASCENDING), ("_created", DESCENDING)], name="model_version_created"
        ),
        IndexModel([("owner", ASCENDING), ("_created", DESCENDING)], name="owner_created"),
        # What people look for among a job's rows, and what they marked: neither has an entry of other results.
        IndexModel(
            [("job", ASCENDING), ("_id", ASCENDING)],
            name="failed_job",
            partialFilterExpression={"status": "failed"},
        ),
        IndexModel(
            [(name, ASCENDING) for name in ("model", "version", "owner", "truth", "label")],
            name="marked",
            partialFilterExpression={"truth": {"$exists": True}},
        ),
    ],
    "erased": [IndexModel([("at", ASCENDING)], name="at", expireAfterSeconds=ERASED_SECONDS)],
    # Of processes that are gone.
    "traffic": [IndexModel([("at", ASCENDING)], name="at", expireAfterSeconds=3600)],
    "jobs": [
        IndexModel(
            [("status", ASCENDING), ("priority", DESCENDING), ("_created", ASCENDING)], name="status_priority_created"
        ),
        IndexModel([("owner", ASCENDING), ("_created", DESCENDING)], name="owner_created"),
        IndexModel([("outbox.at", ASCENDING)], name=OUTBOX, partialFilterExpression={"outbox.0": {"$exists": True}}),
        IndexModel(
            [("cancel_at", ASCENDING)], name=DEADLINES, partialFilterExpression={"cancel_at": {"$exists": True}}
        ),
        # Of one owner, and of all; no other job has an entry.
        IndexModel(
            [("owner", ASCENDING), ("_created", DESCENDING), ("_id", DESCENDING)],
            name=OWNERS_PREDICTIONS,
            partialFilterExpression={"protocol": "replicate"},
        ),
        IndexModel(
            [("_created", DESCENDING), ("_id", DESCENDING)],
            name=ALL_PREDICTIONS,
            partialFilterExpression={"protocol": "replicate"},
        ),
    ],
    "deliveries": [
        # Whom a delivery is for is looked at before the document: those that must wait their turn can be many.
        IndexModel(
            [(name, ASCENDING) for name in ("status", "next_at", "n", "owner", "host", "job")], name="status_next_at"
        ),
        IndexModel([("job", ASCENDING), ("n", ASCENDING)], name="job_n"),
        IndexModel([("owner", ASCENDING), ("_created", DESCENDING)], name="owner_created"),
        IndexModel(
            [("_updated", ASCENDING)],
            name="delivered_expire",
            expireAfterSeconds=DELIVERED_SECONDS,
            partialFilterExpression={"status": "delivered"},
        ),
    ],
    # Requests counted; see api/rate_limits.
    "limits": [IndexModel([("expires", ASCENDING)], name="expires", expireAfterSeconds=0)],
    "keys": [
        IndexModel([("hash", ASCENDING)], name="hash", unique=True),
        # Most keys were never replaced.
        IndexModel(
            [("former_hash", ASCENDING)],
            name="former_hash",
            partialFilterExpression={"former_hash": {"$exists": True}},
        ),
    ],
    "users": [IndexModel([("name", ASCENDING)], name="name", unique=True)],
    # Browsers that are logged in, and links that log one in.
    "sessions": [
        IndexModel([("hash", ASCENDING)], name="hash", unique=True),
        IndexModel([("expires", ASCENDING)], name="expires", expireAfterSeconds=0),
    ],
    # Files of clients, which go after a while, with their chunks: see ml/uploads.py.
    "uploads.files": [
        IndexModel([("owner", ASCENDING), ("_id", DESCENDING)], name="owner_id"),
        IndexModel([("expires", ASCENDING)], name="expires", expireAfterSeconds=0),
    ],
    "uploads.chunks": [
        IndexModel([("files_id", ASCENDING), ("n", ASCENDING)], name="files_id_1_n_1", unique=True),
        IndexModel([("owner", ASCENDING)], name="owner"),
        IndexModel([("expires", ASCENDING)], name="expires", expireAfterSeconds=0),
    ],
    "idempotency": [IndexModel([("expires", ASCENDING)], name="expires", expireAfterSeconds=0)],
    "audit": [
        IndexModel([("_created", DESCENDING)], name="created"),
        IndexModel([("owner", ASCENDING), ("_created", DESCENDING)], name="owner_created"),
        IndexModel([("by.owner", ASCENDING), ("_created", DESCENDING)], name="by_owner_created"),
        IndexModel([("documents", ASCENDING)], name="documents"),
        # Refusals alone have an end.
        IndexModel([("expires", ASCENDING)], name="expires", expireAfterSeconds=0),
    ],
}

#: Indexes that an earlier version made, and nothing uses any more: each costs every write.
FORMER: dict[str, list[str]] = {"inputs": ["tags"]}


class NewerDatabase(Exception):
    """The database was written by a newer Almanac than this one."""


def prepare(db: Database[Document]) -> None:
    """Make what is missing; a second call, or one at the same time in another process, changes nothing.

    Raises NewerDatabase where the stored shape of documents is one that this program does not know.
    """
    stored = db["meta"].find_one({"_id": "shape"})
    if stored is not None and stored["version"] > SHAPE_VERSION:
        raise NewerDatabase(
            f"the database {db.name!r} holds documents of shape {stored['version']}, this Almanac knows shapes up to "
            f"{SHAPE_VERSION}: start the newer Almanac, or restore a backup made by this one"
        )
    _ensure_validator(db)
    for name, wanted in INDEXES.items():
        present = set(db[name].index_information())
        missing = [index for index in wanted if index.document["name"] not in present]
        if missing:
            db[name].create_indexes(missing)
        for former in present.intersection(FORMER.get(name, ())):
            try:
                db[name].drop_index(former)
            except OperationFailure as error:
                if error.code not in (INDEX_NOT_FOUND, UNAUTHORIZED):  # another process was first, or nobody may
                    raise
    if stored is None:
        db["meta"].update_one({"_id": "shape"}, {"$setOnInsert": {"version": SHAPE_VERSION}}, upsert=True)


def _ensure_validator(db: Database[Document]) -> None:
    found = next(iter(db.list_collections(filter={"name": "inputs"})), None)
    if found is None:
        try:
            db.create_collection("inputs", validator=INPUTS_VALIDATOR)
            return
        except CollectionInvalid:
            pass  # another process was first
        except OperationFailure as error:
            if error.code != NAMESPACE_EXISTS:
                raise
        found = next(iter(db.list_collections(filter={"name": "inputs"})))
    if "validator" not in found.get("options", {}):
        try:
            db.command("collMod", "inputs", validator=INPUTS_VALIDATOR)
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            log.warning(
                "the collection inputs has no validator and this user may not add one: "
                "run collMod once as an administrator"
            )
