"""The lines that say that Almanac serves, said once, by the process that knows."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click
from pymongo.database import Database

from api.auth.sessions import sessions_of
from ml.database.client import Document
from ml.errors import StorageUnavailable
from settings import Settings

#: Where `serve` leaves what is to be said to the HTTP server that it becomes: JSON, the address and a line on the key.
VARIABLE = "_ALMANAC_ANNOUNCE"
#: What ends Almanac in order.
STOPS = (signal.SIGTERM, signal.SIGINT)
POLL_SECONDS = 0.02


def announce(url: str, key: str, link: str | None = None) -> None:
    """Tell where Almanac serves, where the administrator's key is, and the token of a link that logs a browser in."""
    lines = (
        f"Almanac serves at {url} (Ctrl-C ends it)",
        f"admin key: {key}",
        # With the link that logs in, where one is needed and there can be one.
        f"in a browser, once, within ten minutes: {url}/login?token={link}" if link else f"in a browser: {url}/",
    )
    # At once, and apart from lines of the log, which are written meanwhile.
    click.echo("\n" + "\n".join(lines) + "\n")
    sys.stdout.flush()


def announcement(url: str, key: str) -> dict[str, str]:
    """What is to be in the environment of a process that calls `announce_when`."""
    return {VARIABLE: json.dumps([url, key])}


def announce_when(ready: Callable[[], bool], directory: Path, link: Callable[[], str | None]) -> None:
    """Announce what the environment says, if anything, when `ready`; one of all processes with `directory` does.

    `link` makes the token of a link that logs in.
    """
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
        url, key = json.loads(said)
        announce(url, key, link())

    threading.Thread(target=wait, name="announcement", daemon=True).start()


def log_in_link(settings: Settings, db: Database[Document]) -> str | None:
    """The token of a link that logs a browser in once; None where there are no sessions, or everyone is let in."""
    if settings.secret_key is None or settings.auth == "off":
        return None
    try:
        return sessions_of(settings, db).make_link()
    except StorageUnavailable as error:
        click.echo(f"almanac: there is no link that logs in: {error}", err=True)
        return None
