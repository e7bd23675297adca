"""API keys: how they look, what is stored of them, how one is made and replaced."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo.client_session import ClientSession
from pymongo.database import Database

from ml.audit.entries import Entry, owner_in, recorded
from ml.database.client import Document
from ml.database.documents import new_etag, stamp_new
from ml.database.leases import until
from ml.errors import Invalid
from ml.identity.caller import Role

COLLECTION = "keys"

#: 256 bits, in characters that need no escape in a URL.
FORM = re.compile(r"alm_[A-Za-z0-9_-]{43}\Z")
RANDOM_BYTES = 32
#: Characters of a key that are stored and shown, so that people know one from another. They tell 24 bits of its 256.
PREFIX = 8

#: Whose documents a key is for: any text without control characters, as other programs may have written it.
OWNER = r"[^\x00-\x20\x7f]([^\x00-\x1f\x7f]{0,126}[^\x00-\x20\x7f])?\Z"

#: Seconds that a key which was replaced lives on where nothing is said, and at most.
GRACE_SECONDS = 24 * 3600.0
MOST_GRACE_SECONDS = 30 * 24 * 3600.0


def new_key() -> str:
    """A key that nobody has."""
    return "alm_" + secrets.token_urlsafe(RANDOM_BYTES)


def digest_of(token: str) -> str:
    """What is stored of a key: its SHA-256. A key has 256 random bits, so that a slow hash would protect nothing."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def complete(document: dict[str, Any]) -> str:
    """Make the key of a new document of `keys`, which gets its digest and stamps; the key is nowhere else.

    Raises Invalid for an administrator's key that is held to models: it could make itself another.
    """
    check_models(document["role"], document.get("models"))
    key = new_key()
    document.update(_stored(key))
    stamp_new(document, None)
    return key


def check_models(role: Role, models: object) -> None:
    """Raise Invalid where a key of this role cannot be held to models."""
    if role == "admin" and models is not None:
        issue = "expected none for the role admin: who may make keys can make one for every model"
        raise Invalid("the key does not fit", {"models": issue})


def create_key(
    db: Database[Document],
    role: Role,
    owner: str,
    models: list[str] | None = None,
    expires: datetime | None = None,
    description: str | None = None,
    entry: Entry | None = None,
) -> tuple[Document, str]:
    """Store a new key; its document and the key itself. Raises Invalid."""
    given = {"models": models, "expires": expires, "description": description}
    document: Document = {"_id": ObjectId(), "role": role, "owner": owner}
    document.update({name: value for name, value in given.items() if value is not None})
    key = complete(document)

    def work(session: ClientSession | None) -> None:
        db[COLLECTION].insert_one(document, session=session)
        if entry is not None:
            entry.write(db, [document["_id"]], owner, session)

    recorded(db, entry, work)
    return document, key


def rotate_key(
    db: Database[Document],
    key_id: ObjectId,
    scope: Mapping[str, Any],
    grace_seconds: float,
    entry: Entry | None = None,
) -> tuple[Document, str] | None:
    """Give a document of `keys` another key; the one before lives on for so long, one before that ends now.

    The document and the new key, or None where there is no such document.
    """
    key = new_key()
    update: list[dict[str, Any]] = [
        {"$set": {"former_hash": "$hash", "former_until": until(grace_seconds)}},
        {"$set": {**_stored(key), "_etag": new_etag(), "_updated": "$$NOW"}},
    ]
    spec = {"$and": [{"_id": key_id}, dict(scope)]}

    def work(session: ClientSession | None) -> Document | None:
        found: Document | None = db[COLLECTION].find_one_and_update(spec, update, return_document=True, session=session)
        if found is not None and entry is not None:
            entry.write(db, [key_id], owner_in(found), session)
        return found

    found = recorded(db, entry, work)
    return None if found is None else (found, key)


def _stored(key: str) -> dict[str, str]:
    return {"hash": digest_of(key), "prefix": key[:PREFIX]}
