"""Requests counted against the limits, and what an answer says of them."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from limits import RateLimitItem
from limits.storage import Storage

from api.auth.caller import Caller
from api.edge import MORE_HEADERS
from api.errors import ApiError
from api.rate_limits.storages import MemoryCounts

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

log = logging.getLogger(__name__)

#: For how long a storage that failed is not asked again, in seconds.
AWAY_SECONDS = 5.0
#: An owner that is part of a storage's key as it is.
SANE = re.compile(r"[A-Za-z0-9._@+-]{1,100}\Z")
#: Keys that are remembered to have nothing left.
MANY = 10_000


class TooMany(ApiError):
    """There were more requests than are allowed: 429."""

    def __init__(self, who: str, limit: RateLimitItem, left: float) -> None:
        seconds = max(1, math.ceil(left))
        super().__init__(
            429,
            f"too many requests {who}: {limit.amount} in {limit.get_expiry()} seconds are allowed",
            headers={"Retry-After": str(seconds)},
        )


class _Limit(NamedTuple):
    """A limit, and what counting asks of it."""

    item: RateLimitItem
    amount: int
    seconds: int
    text: str


class RateLimits:
    """The limits, and what was used of them."""

    def __init__(self, limits: Sequence[RateLimitItem], storage: Storage) -> None:
        # Short ones first: what they refuse is not taken from the long ones.
        ordered = sorted(limits, key=lambda limit: limit.get_expiry())
        self._limits = [_Limit(limit, limit.amount, limit.get_expiry(), str(limit.amount)) for limit in ordered]
        self._suffixes = [limit.key_for("") for limit in ordered]
        self._policy = ("RateLimit-Policy", ", ".join(f"{limit.amount};w={limit.get_expiry()}" for limit in ordered))
        self._storage = _counter(storage)
        self._errors: tuple[type[Exception], ...] = (*_tuple(storage.base_exceptions), OSError)
        self._meanwhile = MemoryCounts()
        #: When a storage that failed is asked again (monotonic); 0 where it did not.
        self._away_until = 0.0
        self._asking = threading.Lock()
        #: When the windows of those who have nothing left end: to refuse them is not to cost what an answer does.
        self._used_up: dict[str, float] = {}
        #: The storage's keys of those who asked before, one for each limit.
        self._keys: dict[str, tuple[str, ...]] = {}

    def count_caller(self, environ: WSGIEnvironment, caller: Caller | None) -> None:
        """Count a request for its key, or where none is needed for its address. Raises TooMany."""
        if caller is None:
            self.count_address(environ)
        else:
            who = caller.proof or caller.owner
            self._count(environ, self._keys.get(who) or self._keys_of(who), "with this key")

    def count_address(self, environ: WSGIEnvironment) -> None:
        """Count a request for the address that it came from. Raises TooMany."""
        self._count(environ, self._keys_of_address(environ), "from this address")

    def refuse_address(self, environ: WSGIEnvironment) -> None:
        """Raise TooMany where the address has nothing left, without counting: for what is costly to look at."""
        if self._used_up:
            for limit, key in zip(self._limits, self._keys_of_address(environ), strict=True):
                left = self._used_up.get(key, 0.0) - time.monotonic()
                if left > 0:
                    self._say(environ, limit, 0, left)
                    raise TooMany("from this address", limit.item, left)

    def _keys_of(self, who: str) -> tuple[str, ...]:
        # Some storages take no other keys than sane ones.
        sane = who if SANE.match(who) else hashlib.sha256(who.encode("utf-8", "surrogatepass")).hexdigest()
        keys = tuple([f"key:{sane}{suffix}" for suffix in self._suffixes])
        if len(self._keys) >= MANY:
            self._keys.clear()
        self._keys[who] = keys
        return keys

    def _keys_of_address(self, environ: WSGIEnvironment) -> tuple[str, ...]:
        return tuple([f"address:{_address(environ)}{suffix}" for suffix in self._suffixes])

    def _count(self, environ: WSGIEnvironment, keys: tuple[str, ...], who: str) -> None:
        if MORE_HEADERS in environ:  # a prediction that was looked at before Flask, and then was not plain
            return
        least, soonest, tightest = math.inf, 0.0, None
        for limit, key in zip(self._limits, keys, strict=True):
            count, left = self._counted(key, limit.seconds, limit.amount)
            remaining = limit.amount - count
            if remaining < 0:
                self._say(environ, limit, 0, left)
                raise TooMany(who, limit.item, left)
            if remaining < least:
                least, soonest, tightest = remaining, left, limit
        if tightest is not None:
            self._say(environ, tightest, int(least), soonest)

    def _say(self, environ: WSGIEnvironment, limit: _Limit, remaining: int, left: float) -> None:
        environ[MORE_HEADERS] = (
            ("RateLimit-Limit", limit.text),
            ("RateLimit-Remaining", str(remaining)),
            ("RateLimit-Reset", str(math.ceil(left))),
            self._policy,
        )

    def _counted(self, key: str, seconds: int, amount: int) -> tuple[int, float]:
        if self._used_up:
            left = self._used_up.get(key, 0.0) - time.monotonic()
            if left > 0:
                return amount + 1, left
        count, left = self._ask(key, seconds) if self._away_until else self._try(key, seconds)
        if count > amount:
            if len(self._used_up) >= MANY:
                self._used_up.clear()
            self._used_up[key] = time.monotonic() + left
        return count, left

    def _ask(self, key: str, seconds: int) -> tuple[int, float]:
        """While the storage is away: what memory says. One asks whether it is back."""
        # The others need not wait for it.
        if time.monotonic() >= self._away_until and self._asking.acquire(blocking=False):
            try:
                return self._try(key, seconds)
            finally:
                self._asking.release()
        return self._meanwhile.counted(key, seconds)

    def _try(self, key: str, seconds: int) -> tuple[int, float]:
        try:
            found = self._storage(key, seconds)
        except self._errors as error:
            if not self._away_until:
                log.warning("requests are counted in memory: their storage failed (%s)", type(error).__name__)
            self._away_until = time.monotonic() + AWAY_SECONDS
            return self._meanwhile.counted(key, seconds)
        if self._away_until:
            self._away_until = 0.0
            log.warning("requests are counted in their storage again")
        return found


def _counter(storage: Storage) -> Callable[[str, int], tuple[int, float]]:
    """What counts a request: the storage's own way, or the two steps that every one has."""
    own: Callable[[str, int], tuple[int, float]] | None = getattr(storage, "counted", None)
    if own is not None:
        return own

    def counted(key: str, seconds: int) -> tuple[int, float]:
        count = storage.incr(key, seconds)
        return count, max(0.0, min(seconds, storage.get_expiry(key) - time.time()))

    return counted


def _tuple(errors: Any) -> tuple[type[Exception], ...]:
    return errors if isinstance(errors, tuple) else (errors,)


def _address(environ: WSGIEnvironment) -> str:
    """The address of the client; of IPv6 the 64 bits that one customer has."""
    address: str = environ.get("REMOTE_ADDR", "")
    if ":" not in address:
        return address
    try:
        whole = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(whole.ipv4_mapped or ipaddress.IPv6Network((whole, 64), strict=False))
