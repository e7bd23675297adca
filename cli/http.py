"""`run.py http`: the HTTP server alone, as `serve` starts it."""

from __future__ import annotations

import logging
import os
from multiprocessing.util import Finalize
from typing import Any

import click
from granian import Granian
from granian.constants import Interfaces

from cli.lifeline import end_with_parent
from cli.options import settings_or_exit

#: Connections, idle ones included, in each worker process. Small, and a few that say nothing would lock all out.
CONNECTIONS = 4096
#: How long a stop waits for the requests that are being answered, in seconds.
DRAIN_SECONDS = 30


@click.command("http", hidden=True)
@click.option("--host", required=True)
@click.option("--port", required=True, type=int)
@click.option("--workers", type=int)
@click.option("--parent", type=int, hidden=True)
def command(host: str, port: int, workers: int | None, parent: int | None) -> None:
    """Serve HTTP against ALMANAC_MONGO_URI."""
    end_with_parent(parent)
    settings = settings_or_exit(host=host, port=port, workers=workers)
    Granian(
        "cli.http:application",
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=settings.workers,
        blocking_threads=settings.threads,
        backpressure=CONNECTIONS,
        backlog=1024,
        workers_kill_timeout=DRAIN_SECONDS,
        respawn_failed_workers=True,
        websockets=False,
        log_access=False,
        log_enabled=False,
    ).serve()


def application() -> Any:
    """The WSGI application of one worker process; granian calls it there."""
    end_with_parent(os.getppid())
    settings = settings_or_exit()
    from api import create_app
    from ml.database.client import connect

    assert settings.mongo_uri is not None
    app = create_app(settings, connect(settings.mongo_uri.get_secret_value()))
    service = app.extensions["service"]
    service.start()
    # atexit does not run in a process of multiprocessing; this does, after the last request was answered.
    Finalize(None, service.close, exitpriority=10)
    logging.getLogger(__name__).info("worker process %d is up", os.getpid())
    return app
