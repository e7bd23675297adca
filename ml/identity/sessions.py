"""Browsers' sessions: documents that refer to what was proven at log-in, and end with it; and links that log in once.

A session is looked up at each request that comes with one, together with its key or user, rather than remembered: so a
log-out, a revoked key or a changed password ends it at once in every process.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pymongo
from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ml.database.client import Document
from ml.errors import StorageUnavailable
from ml.identity import keys
from ml.identity.caller import ADMIN, Caller
from ml.identity.known import Known, known_key, known_user

COLLECTION = "sessions"
USERS = "users"

#: How long a session lasts, whatever is done with it, and how long a link waits to be opened, in seconds.
SESSION_SECONDS = 12 * 3600.0
LINK_SECONDS = 600.0
#: Seconds that the database has for an answer.
ANSWER_SECONDS = 5.0
RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Proof:
    """What a log-in was shown: a key, a user's password, or that it is the administrator.

    `digest` is another where the key was replaced, the password changed, or the administrator's key is another one.
    """

    of: Literal["key", "user", "admin"]
    digest: str
    id: ObjectId | None = None


class Sessions:
    """The sessions of a database; `admin` is a digest that is another where the administrator's key is."""

    def __init__(self, db: Database[Document], admin: str) -> None:
        self._collection = db[COLLECTION]
        self._db = db
        self._admin = admin

    def proof_of_key(self, token: str, caller: Caller) -> Proof | None:
        """What a session refers to whose caller has just shown this key; None for callers that have none."""
        if caller == ADMIN:
            return Proof("admin", self._admin)
        if caller.proof is None or not ObjectId.is_valid(caller.proof):
            return None
        return Proof("key", keys.digest_of(token), ObjectId(caller.proof))

    def proof_of_user(self, name: str) -> Proof | None:
        """The same for the user of this name. To be asked before the password is verified: it may be changed then."""
        with _answering():
            user = self._db[USERS].find_one({"name": name}, ["password_hash"])
        if user is None or not isinstance(user.get("password_hash"), str):
            return None
        return Proof("user", _digest(user["password_hash"]), user["_id"])

    def proof_of_admin(self) -> Proof:
        """The same for who opened a link that logs in."""
        return Proof("admin", self._admin)

    def begin(self, proof: Proof) -> str:
        """A new session; what names it, which is stored nowhere."""
        token = secrets.token_urlsafe(RANDOM_BYTES)
        document: Document = {"kind": "session", "hash": _digest(token), "of": proof.of, "digest": proof.digest}
        if proof.id is not None:
            document["proof"] = proof.id
        self._store(document, SESSION_SECONDS)
        return token

    def caller_of(self, token: str) -> Caller | None:
        """Whose session it is; None where it has ended, or what was proven holds no more."""
        with _answering():
            session = self._collection.find_one({"hash": _digest(token), "kind": "session"})
            if session is None or session["expires"] <= datetime.now(UTC):
                return None
            if session["of"] == "admin":
                return ADMIN if session["digest"] == self._admin else None
            known = self._known(session)
        return known.caller if known is not None and time.time() < known.expires else None

    def end(self, token: str) -> None:
        """Log out, in every process."""
        with _answering():
            self._collection.delete_one({"hash": _digest(token)})

    def make_link(self) -> str:
        """The token of a link that logs in as the administrator, once."""
        token = secrets.token_urlsafe(RANDOM_BYTES)
        self._store({"kind": "link", "hash": _digest(token), "digest": self._admin}, LINK_SECONDS)
        return token

    def redeem_link(self, token: str) -> bool:
        """Whether this is such a token, which is none from now on."""
        spec = {"hash": _digest(token), "kind": "link", "digest": self._admin}
        with _answering():
            link = self._collection.find_one_and_delete(spec)
        return link is not None and link["expires"] > datetime.now(UTC)

    def _known(self, session: Document) -> Known | None:
        if session["of"] == "key":
            document = self._db[keys.COLLECTION].find_one({"_id": session["proof"]})
            return known_key(document, session["digest"]) if document is not None else None
        document = self._db[USERS].find_one({"_id": session["proof"]})
        known = known_user(document) if document is not None else None
        return known if known is not None and _digest(known.secret) == session["digest"] else None

    def _store(self, document: Document, seconds: float) -> None:
        now = datetime.now(UTC)
        with _answering():
            self._collection.insert_one({**document, "at": now, "expires": now + timedelta(seconds=seconds)})


@contextmanager
def _answering() -> Iterator[None]:
    """Within it the database is to answer soon. Raises StorageUnavailable."""
    try:
        with pymongo.timeout(ANSWER_SECONDS):
            yield
    except PyMongoError as error:
        raise StorageUnavailable(f"the database is not available ({type(error).__name__})") from error


def _digest(token: Any) -> str:
    """Tokens are 256 random bits, stored hashes as slow as they are to be: neither needs a slow digest."""
    return hashlib.sha256(str(token).encode("utf-8", "surrogatepass")).hexdigest()
