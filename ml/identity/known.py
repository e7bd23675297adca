"""Keys and users that were seen in the database not long ago, so that a request need not ask it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from bson import ObjectId

from ml.identity.caller import ROLES, Caller, Via

#: Seconds for which one is good after the database was last seen to have it: so long it may be away.
GOOD_SECONDS = 600.0
#: How many are kept in mind.
MOST = 2048


class Known:
    """A key, or a user with what is stored of its password. Requests read it and a thread writes it, without a lock."""

    __slots__ = ("caller", "expires", "good_until", "id", "noted", "secret", "used")

    def __init__(self, id_: ObjectId, secret: str, caller: Caller, expires: float, noted: float = 0.0) -> None:
        self.id = id_
        #: The digest of the key, or the hash of the password.
        self.secret = secret
        self.caller = caller
        #: Seconds since 1970: when it ends, was last used, and was last used by what the database says.
        self.expires = expires
        self.used = time.time()
        self.noted = noted
        #: Monotonic.
        self.good_until = time.monotonic() + GOOD_SECONDS

    @property
    def is_good(self) -> bool:
        """Whether the database had it not long ago."""
        return time.monotonic() < self.good_until

    def renew(self, now: Known) -> None:
        """Take over what the database says of it now."""
        self.secret, self.caller, self.expires, self.good_until = now.secret, now.caller, now.expires, now.good_until


def known_key(document: Mapping[str, Any], digest: str) -> Known | None:
    """The key with this digest, of its document in `keys`; None where the document has another by now.

    A former key ends with its grace, one whose document is not as Almanac writes it is none.
    """
    caller = _caller(document.get("owner"), document, "key")
    expires = [_seconds(document["expires"])] if document.get("expires") is not None else []
    if document.get("hash") != digest:
        if document.get("former_hash") != digest:
            return None
        expires.append(_seconds(document.get("former_until")))
    if caller is None:
        return None
    used = document.get("last_used")
    noted = used.timestamp() if isinstance(used, datetime) else 0.0
    return Known(document["_id"], digest, caller, min(expires, default=math.inf), noted)


def known_user(document: Mapping[str, Any]) -> Known | None:
    """The user of a document in `users`; one that is disabled has expired."""
    caller, secret = _caller(document.get("name"), document, "password"), document.get("password_hash")
    if caller is None or not isinstance(secret, str):
        return None
    return Known(document["_id"], secret, caller, 0.0 if document.get("disabled") else math.inf)


def _caller(owner: Any, document: Mapping[str, Any], via: Via) -> Caller | None:
    role, models, prefix = document.get("role"), document.get("models"), document.get("prefix")
    if not isinstance(owner, str) or not owner or role not in ROLES:
        return None
    if models is not None and not isinstance(models, list):
        return None
    return Caller(
        owner,
        role,
        None if models is None else frozenset(map(str, models)),
        str(document.get("_id")),
        via,
        prefix if isinstance(prefix, str) else None,
    )


def _seconds(time_: Any) -> float:
    """Seconds since 1970; what is no time is over."""
    try:
        return time_.timestamp() if isinstance(time_, datetime) else 0.0
    except (OverflowError, ValueError):
        return 0.0


class Memory:
    """What is known, by digest or name; the least recently used goes first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: dict[str, Known] = {}
        #: One lookup, which the interpreter does at once.
        self.get = self._known.get

    def put(self, name: str, known: Known) -> None:
        with self._lock:
            if len(self._known) >= self._most:
                # An eighth at once: to look for the oldest takes a while.
                for oldest in sorted(self._known, key=lambda other: self._known[other].used)[: self._most // 8 + 1]:
                    del self._known[oldest]
            self._known[name] = known

    def all(self) -> dict[str, Known]:
        with self._lock:
            return dict(self._known)

    def drop(self, names: Iterable[str]) -> None:
        with self._lock:
            for name in names:
                self._known.pop(name, None)

    def drop_id(self, id_: ObjectId) -> None:
        """Forget all that a document gave."""
        self.drop([name for name, known in self.all().items() if known.id == id_])
