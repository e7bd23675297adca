"""Waiting on a condition, which tests do instead of sleeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 20, what: str = "the condition") -> T:
    """Wait until `condition` gives something true, and give that; the test fails where it does not come in time."""
    end = time.monotonic() + seconds
    ticks = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        ticks.wait(0.02)
