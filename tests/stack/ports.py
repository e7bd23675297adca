"""Ports that nobody uses, side by side."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack


def free_range(count: int) -> int:
    """The first of `count` neighbouring free loopback ports."""
    for _ in range(100):
        first = random.randrange(20_000, 32_000)
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise OSError(f"no {count} neighbouring ports are free")
