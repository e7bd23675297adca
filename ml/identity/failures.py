"""Failures to say who asks, by address or by name: who fails too often is refused without a look at what it sends."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict

from ml.errors import TooManyFailures

#: Addresses or names that are kept in mind. The one that failed the longest ago goes first.
MOST_WATCHED = 10_000


class Failures:
    """A sliding window for each: at most `most` different failures within `seconds`. Of this process alone.

    The same wrong key or password sent again is one failure: a program that was forgotten with an old one guesses
    nothing, and shall not lock out others behind its address.
    """

    def __init__(self, most: int, seconds: float, what: str) -> None:
        self._most = most
        self._seconds = seconds
        self._what = what
        self._lock = threading.Lock()
        self._windows: OrderedDict[str, dict[str, float]] = OrderedDict()

    def check(self, who: str) -> None:
        """Raise TooManyFailures where there were too many."""
        if who not in self._windows:
            return
        now = time.monotonic()
        with self._lock:
            window = self._recent(who, now)
            if len(window) < self._most:
                return
            seconds = self._seconds - (now - sorted(window.values())[-self._most])
        raise TooManyFailures(f"too many failures {self._what}: try again later", max(1, math.ceil(seconds)))

    def note(self, who: str, digest: str) -> None:
        """Note a failure with what this is the digest of."""
        now = time.monotonic()
        with self._lock:
            window = self._recent(who, now)
            # More than would be refused need not be known.
            if digest in window or len(window) < self._most:
                window[digest] = now
            self._windows[who] = window
            self._windows.move_to_end(who)
            if len(self._windows) > MOST_WATCHED:
                self._windows.popitem(last=False)

    def noted(self, who: str, digest: str, seconds: float) -> bool:
        """Whether the same failed within so many seconds."""
        return time.monotonic() - self._windows.get(who, {}).get(digest, -math.inf) < seconds

    def _recent(self, who: str, now: float) -> dict[str, float]:
        window = self._windows.get(who, {})
        return {digest: at for digest, at in window.items() if now - at < self._seconds}


def network_of(address: str) -> str:
    """What one client is taken to be: an IPv4 address, or an IPv6 network of /64, of which it has all addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a unix socket
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
