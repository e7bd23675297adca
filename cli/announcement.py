"""The two lines that say that Almanac serves, said once, by the process that knows."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click

#: Where `serve` leaves what is to be said to the HTTP server that it becomes: JSON, the address and a line on the key.
VARIABLE = "_ALMANAC_ANNOUNCE"
#: What ends Almanac in order.
STOPS = (signal.SIGTERM, signal.SIGINT)
POLL_SECONDS = 0.02


def announce(url: str, key: str) -> None:
    """Tell where Almanac serves, and where the administrator's key is."""
    click.echo(f"Almanac serves at {url} (Ctrl-C ends it)")
    click.echo(f"admin key: {key}")
    sys.stdout.flush()


def announcement(url: str, key: str) -> dict[str, str]:
    """What is to be in the environment of a process that calls `announce_when`."""
    return {VARIABLE: json.dumps([url, key])}


def announce_when(ready: Callable[[], bool], directory: Path) -> None:
    """Announce what the environment says, if anything, when `ready`; one of all processes with `directory` does."""
    said = os.environ.get(VARIABLE)
    if said is None:
        return

    def wait() -> None:
        never = threading.Event()
        while not ready():
            never.wait(POLL_SECONDS)
        try:
            (directory / "announced").touch(exist_ok=False)
        except FileExistsError:
            return
        announce(*json.loads(said))

    threading.Thread(target=wait, name="announcement", daemon=True).start()
