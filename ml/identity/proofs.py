"""Passwords that were verified not long ago: to verify one takes a tenth of a second, on purpose."""

from __future__ import annotations

import hmac
import math
import secrets
import threading
import time

#: Seconds for which a password is not verified again, and for which it is known to have been right.
FRESH_SECONDS = 60.0
KEPT_SECONDS = 600.0
#: How many are kept.
MOST = 2048


class Proofs:
    """Digests of names, passwords and what was stored of these: another stored hash is another digest.

    They are made with a secret of this process, so that its memory tells nothing that could be tried elsewhere.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._at: dict[str, float] = {}

    def digest(self, name: str, password: str, stored: str) -> str:
        parts = [part.encode("utf-8", "surrogatepass") for part in (name, password, stored)]
        message = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
        return hmac.digest(self._secret, message, "sha256").hex()

    def keep(self, digest: str) -> None:
        """Note that this was right just now."""
        with self._lock:
            if len(self._at) >= MOST:
                self._at.clear()  # all are verified once more
            self._at[digest] = time.monotonic()

    def is_fresh(self, name: str, password: str, stored: str) -> bool:
        """Whether it need not be verified again."""
        return self._age(name, password, stored) < FRESH_SECONDS

    def is_there(self, name: str, password: str, stored: str) -> bool:
        """Whether it was right not long ago."""
        return self._age(name, password, stored) < KEPT_SECONDS

    def drop_old(self) -> None:
        """Forget what says nothing any more."""
        now = time.monotonic()
        with self._lock:
            for digest in [digest for digest, at in self._at.items() if now - at >= KEPT_SECONDS]:
                del self._at[digest]

    def _age(self, name: str, password: str, stored: str) -> float:
        return time.monotonic() - self._at.get(self.digest(name, password, stored), -math.inf)
