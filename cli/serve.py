"""`run.py serve`: the embedded MongoDB where there is no other, HTTP, and a worker for jobs."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable

import click
from pydantic import SecretStr
from pymongo.errors import PyMongoError

from api.auth.keys import KEY_FILE, admin_key_in, signing_secret_in
from cli.announcement import STOPS, announce, announcement, log_in_link
from cli.options import fail, settings_or_exit
from cli.supervisor import RUN, Child, Supervisor
from ml.database.client import connect, database_of
from ml.database.embedded import EmbeddedError, EmbeddedMongo
from ml.database.indexes import NewerDatabase, prepare
from settings import Settings

#: What prometheus_client reads: figures of the processes in which it is set to one directory are summed.
METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
#: How long the port of a server that was just killed may stay taken, in seconds.
PORT_SECONDS = 15.0


@click.command("serve")
@click.option("--host", help="Address to listen on.  [default: ALMANAC_HOST, 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: ALMANAC_PORT, 8000]")
@click.option("--workers", type=int, help="HTTP worker processes.  [default: ALMANAC_WORKERS, 1]")
@click.option("--no-jobs", is_flag=True, help="Start no worker process for jobs.")
@click.option("--demo", is_flag=True, help="Where no model was ever registered, first run the digits demo.")
def command(host: str | None, port: int | None, workers: int | None, no_jobs: bool, demo: bool) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    said = {"host": host, "port": port, "workers": workers, "jobs": False if no_jobs else None}
    # Who tries the demo reads along, wherever it is written to.
    settings = settings_or_exit(style="console" if demo else None, **said)
    sys.exit(Serving(settings, demo).run())


class Serving:
    """One run of `serve`."""

    def __init__(self, settings: Settings, demo: bool) -> None:
        self._settings = settings
        self._demo = demo
        self._url = settings.url
        self._supervisor: Supervisor | None = None
        self._stopping = False

    def run(self) -> int:
        """The exit code."""
        for number in STOPS:
            signal.signal(number, self._on_signal)
        settings = self._settings
        embedded = None
        try:
            if settings.mongo_uri is None:
                embedded = EmbeddedMongo(settings.data_dir, settings.embedded_port, self._url)
                uri = embedded.start()
            else:
                uri = settings.mongo_uri.get_secret_value()
            key = settings.admin_key.get_secret_value() if settings.admin_key else admin_key_in(settings.data_dir)
            self._prepare(uri)
            figures = settings.data_dir / "cache" / "metrics"
            shutil.rmtree(figures, ignore_errors=True)  # of processes that are gone
            figures.mkdir(parents=True)
            wait_for_port(settings.host, settings.port, lambda: self._stopping)
            environment = {
                "ALMANAC_MONGO_URI": uri,
                "ALMANAC_ADMIN_KEY": key,
                # As it was said here: that nobody is asked for a key hangs on it.
                "ALMANAC_HOST": settings.host,
                METRICS_DIRECTORY: str(figures),
            }
            if settings.log_format is not None:
                environment["ALMANAC_LOG_FORMAT"] = settings.log_format
            if settings.mongo_uri is None and settings.secret_key is None:
                # With a database of one's own there may be other servers, which would each make another one.
                environment["ALMANAC_SECRET_KEY"] = signing_secret_in(settings.data_dir)
            return self._supervise(embedded, environment)
        except (EmbeddedError, NewerDatabase, OSError) as error:
            fail(error)
        finally:
            if self._supervisor is not None:
                self._supervisor.end()
            if embedded is not None:
                embedded.stop()

    def _supervise(self, embedded: EmbeddedMongo | None, environment: dict[str, str]) -> int:
        settings = self._settings
        http = ["http", "--host", settings.host, "--port", str(settings.port), "--workers", str(settings.workers)]
        if embedded is None and not settings.jobs and not self._demo:
            return self._become(http, environment)
        children = [Child("HTTP", http, environment, restarts=False)]
        if settings.jobs:
            children.append(Child("the worker", ["worker"], environment, restarts=True))
        self._supervisor = Supervisor(children, embedded)
        if self._stopping:
            return 0
        self._supervisor.start()
        code = self._supervisor.watch(self._is_ready)
        if code or self._supervisor.stop.is_set():
            return code
        if self._demo:
            code = self._run_demo(environment)
            if code or self._supervisor.stop.is_set():
                return code
        announce(self._url, self._key_line(environment), self._link(environment))
        return self._supervisor.watch()

    def _link(self, environment: dict[str, str]) -> str | None:
        """The token of a link that logs in; None where there are no sessions, or everyone is let in."""
        given = {name: SecretStr(environment[f"ALMANAC_{name.upper()}"]) for name in ("admin_key", "secret_key")
                 if f"ALMANAC_{name.upper()}" in environment}  # fmt: skip
        client = connect(environment["ALMANAC_MONGO_URI"])
        try:
            return log_in_link(self._settings.model_copy(update=given), database_of(client))
        finally:
            client.close()

    def _key_line(self, environment: dict[str, str]) -> str:
        """Where the administrator's key is, or the key for who tries the demo."""
        if self._settings.admin_key is not None:
            return "as given in ALMANAC_ADMIN_KEY"
        return environment["ALMANAC_ADMIN_KEY"] if self._demo else f"in {self._settings.data_dir / KEY_FILE}"

    def _become(self, http: list[str], environment: dict[str, str]) -> int:
        """Go on as the HTTP server itself: with nothing to watch beside it, a process that did would only take memory.

        Returns only where the stop came before: the exit code.
        """
        # What comes from here on waits until the server heeds it (cli/http.py).
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        if not self._stopping:
            environment = {**os.environ, **environment, **announcement(self._url, self._key_line(environment))}
            sys.stdout.flush()
            # A program of ours.
            os.execve(sys.executable, [sys.executable, str(RUN), *http], environment)  # noqa: S606 # nosec B606
        return 0

    def _run_demo(self, environment: dict[str, str]) -> int:
        assert self._supervisor is not None
        demo = subprocess.Popen(
            [sys.executable, str(RUN), "demo", "--once", "--elsewhere", "--url", self._url],
            env={**os.environ, **environment, "ALMANAC_LOG_LEVEL": "warning"},
            start_new_session=True,
        )
        code = self._supervisor.watch(lambda: demo.poll() is not None)
        if demo.poll() is None:
            demo.terminate()
            demo.wait()
        elif demo.returncode:
            click.echo("almanac: the demo failed; the server goes on", err=True)
        return code

    def _is_ready(self) -> bool:
        """Whether HTTP answers that it is ready; a host like 0.0.0.0 is asked at its loopback address."""
        # Nothing listens at what is asked here.
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # nosec B104
        host = loopback.get(self._settings.host, self._settings.host)
        # Not urllib, which would ask the proxy that http_proxy names.
        connection = http.client.HTTPConnection(host, self._settings.port, timeout=2)
        if self._settings.tls is not None:
            connection = http.client.HTTPSConnection(host, self._settings.port, timeout=2, context=_own_certificate())
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == 200
        except (http.client.HTTPException, OSError):
            return False
        finally:
            connection.close()

    def _prepare(self, uri: str) -> None:
        client = connect(uri)
        try:
            prepare(database_of(client))
        except PyMongoError as error:
            fail(f"the database cannot be used: {error}")
        finally:
            client.close()

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping = True
        if self._supervisor is not None:
            self._supervisor.stop.set()


def _own_certificate() -> ssl.SSLContext:
    """For asking oneself: the certificate is for the server's name, not for the address that is asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def wait_for_port(host: str, port: int, give_up: Callable[[], bool]) -> None:
    """Wait until `port` can be listened on: a server that was killed leaves it in a moment. Raises OSError."""
    until = time.monotonic() + PORT_SECONDS
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen(1)
                return
            except OSError as error:
                if time.monotonic() > until or give_up():
                    raise OSError(f"{host}:{port} cannot be listened on: {error.strerror}") from None
        time.sleep(0.1)
