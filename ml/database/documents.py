"""The stamps that every stored document carries, made in one place for Eve's writes and the service's."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import bson
from bson import ObjectId

#: An entity tag that no one stored: computed from a document that another client wrote without one.
DERIVED = "derived-"
#: What a stored entity tag looks like; another program's that does not is as good as none. Python and MongoDB both
#: read this pattern, hence the last group for the very end.
TAG = r"^[!#-+\--~]{1,100}(?![\s\S])"


def now() -> datetime:
    """The time in UTC, cut to the milliseconds that BSON keeps."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def new_etag() -> str:
    """A fresh entity tag: random, since hashing a document with a tensor in it costs more than storing it.

    It is no secret, and os.urandom would let go of the interpreter at each, which costs a turn under load.
    """
    return f"{random.getrandbits(96):024x}"


def stamp_new(document: dict[str, Any], owner: str | None, at: datetime | None = None) -> dict[str, Any]:
    """Mark a document as made now and owned by `owner`; it is changed and returned. None leaves it without owner."""
    document["_created"] = document["_updated"] = at or now()
    document["_etag"] = new_etag()
    if owner is not None:
        document["owner"] = owner
    return document


def stamp_update(changes: dict[str, Any]) -> dict[str, Any]:
    """Mark the fields of a `$set` as a change made now; they are changed and returned."""
    changes["_updated"] = now()
    changes["_etag"] = new_etag()
    return changes


def derived_etag(document: Mapping[str, Any]) -> str:
    """The entity tag of a stored document that has none: a digest of its BSON, so that it changes with its content."""
    return DERIVED + hashlib.sha1(bson.encode(document), usedforsecurity=False).hexdigest()[:24]


def is_etag(value: Any) -> bool:
    """Whether a stored value is an entity tag that can be given to a client."""
    return isinstance(value, str) and re.match(TAG, value) is not None


def etag_filter(etag: str) -> dict[str, Any]:
    """What a stored document must match to be the one that had this entity tag."""
    if not etag.startswith(DERIVED):
        return {"_etag": etag}
    # Another client may have stored the tag that it was given, too.
    return {"$or": [{"_etag": etag}, {"_etag": {"$not": {"$regex": TAG}}}, {"_etag": {"$type": "array"}}]}


def identity(*parts: str | bytes | ObjectId) -> ObjectId:
    """The ObjectId that these parts always give: the first 12 bytes of their SHA-256, each part length-prefixed."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.binary if isinstance(part, ObjectId) else part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(4, "little") + raw)
    return ObjectId(digest.digest()[:12])
