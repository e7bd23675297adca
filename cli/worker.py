"""`run.py worker`: claims jobs and runs them; HTTP for health and metrics alone."""

from __future__ import annotations

import gc
import signal
import threading

import click

from cli.lifeline import end_with_parent
from cli.options import open_database, settings_or_exit
from ml.stop import Stop


@click.command("worker")
@click.option("--host", help="Address for health.  [default: ALMANAC_HOST, 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port for health and metrics; without it there is no HTTP.")
@click.option("--parent", type=int, hidden=True)
def command(host: str | None, port: int | None, parent: int | None) -> None:
    """Claim and run jobs until Ctrl-C or SIGTERM."""
    end_with_parent(parent)
    settings = settings_or_exit(host=host)
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    from ml.erasure.retention import Retention
    from ml.jobs.deadlines import Deadlines
    from ml.jobs.worker import Worker
    from ml.service import BuildLimits, Limits, Service
    from ml.webhooks.post import Poster
    from ml.webhooks.sender import Sender

    with open_database(settings, may_start=False) as db:
        limits = BuildLimits(seconds=settings.build_seconds, memory_mb=settings.build_memory_mb)
        serving = Limits(live_models=settings.live_models)
        service = Service(db, settings.data_dir / "cache", limits, serving, settings.executor)
        service.start(keep=False)
        server = None
        if port is not None:
            from api.app import make_worker_app
            from cli.health import health_server

            server = health_server(settings.host, port, make_worker_app(settings, service), settings.tls)
            threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
        sender = Sender(db, Poster(private=settings.webhook_private_targets))
        sender.start()
        deadlines = Deadlines(db)
        deadlines.start()
        retention = Retention(db, settings.retention_days)
        retention.start()
        # What is there now stays, and rows are no cycles: the collector would look at each of them for nothing.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 20)
        try:
            Worker(db, service.registry, stop, settings.lease_seconds).run()
        finally:
            sender.close()
            deadlines.close()
            retention.close()
            if server is not None:
                server.shutdown()
            service.close()
