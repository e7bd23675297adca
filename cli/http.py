"""`run.py http`: the HTTP server alone, as `serve` starts it."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Any

import click
from granian import Granian
from granian.constants import Interfaces, SSLProtocols

from cli import logs
from cli.announcement import STOPS, announce_when, log_in_link
from cli.lifeline import end_with_parent
from cli.options import settings_or_exit
from cli.stops import when_told_to_stop
from ml import cores

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
    server = Granian(
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
        ssl_cert=settings.tls_cert,
        ssl_key=settings.tls_key,
        ssl_protocol_min=SSLProtocols.tls12,
    )
    # Until the server sets its own, a fork has its parent's handler, and a stop that came then would be lost.
    os.register_at_fork(before=_hold_stops, after_in_parent=_heed_stops, after_in_child=_end_at_a_stop)
    # Where `serve` became this process, a stop that came in between has waited; it is heeded from here on.
    server.on_startup(_heed_stops)
    server.serve()


def _hold_stops() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)


def _heed_stops() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def _end_at_a_stop() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _heed_stops()


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
    when_told_to_stop(service.watching.stop)
    # atexit does not run in a process of multiprocessing; these do, after the last request was answered.
    Finalize(None, service.close, exitpriority=10)
    Finalize(None, logs.write_answers(), exitpriority=0)
    # What is there now stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    if settings.pin_threads:
        cores.keep_to_one(service.busy)
        app.wsgi_app = kept(app.wsgi_app)
    announce_when(
        lambda: not service.registry.reasons_not_ready(),
        settings.data_dir / "cache" / "metrics",
        lambda: log_in_link(settings, service.db),
    )
    logging.getLogger(__name__).info("worker process %d is up", os.getpid())
    return app


def kept(answer: Callable[[dict[str, Any], Any], Any]) -> Callable[[dict[str, Any], Any], Any]:
    """`answer` with its threads kept to one core, but for forms: images are decoded without the interpreter."""

    def kept_answer(environ: dict[str, Any], start_response: Any) -> Any:
        cores.arrive()
        if environ.get("CONTENT_TYPE", "").startswith("multipart/"):
            with cores.spread():
                return answer(environ, start_response)
        return answer(environ, start_response)

    return kept_answer
