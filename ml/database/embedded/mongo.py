"""The embedded MongoDB as one object: start, poll, restart, stop."""

from __future__ import annotations

import base64
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from pymongo.errors import PyMongoError

from ml.database.embedded import binary, bootstrap, process, reason, sockets
from ml.database.embedded.errors import EmbeddedError
from ml.database.embedded.files import DataFiles, made_once, write_private
from ml.database.embedded.holder import Holder
from ml.database.embedded.leftover import wait_until_gone

log = logging.getLogger(__name__)

#: A log larger than this at a start is put aside (and the one put aside before it is dropped), bytes.
LOG_LIMIT = 50 * 2**20


class EmbeddedMongo:
    """A private mongod on a data directory: a one-member replica set, authenticated, on a unix socket.

    `port` opens 127.0.0.1:port too. `address` is where this Almanac serves, told to those who find the directory held.
    The process that calls `start` holds the directory; in a process forked from it `stop` does nothing. Calls may come
    from any thread, one at a time (`poll` at any time).
    """

    def __init__(self, data_dir: Path, port: int | None = None, address: str | None = None) -> None:
        self._files = DataFiles(data_dir.resolve())
        self._port = port
        self._holder = Holder(self._files.lock, address)
        self._process: process.Process | None = None
        self._socket: Path | None = None
        self._log_start = 0
        #: Called with the name of each step when it is done; tests end mongod there.
        self._step: Callable[[str], None] = lambda name: log.debug("embedded MongoDB: %s", name)

    def start(self) -> str:
        """Hold the directory, bring mongod to a writable primary with its users, and return the URI.

        The URI is then in `mongo.uri` (0600) too. Raises DirectoryHeld, or EmbeddedError with what to do. About 0.7 s;
        longer after a crash, when the journal is read.
        """
        try:
            self._files.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._holder.acquire()
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._files.uri.unlink(missing_ok=True)  # of an Almanac that was killed: nothing answers there yet
            return self._bring_up()
        except BaseException:
            self.stop()
            raise

    def poll(self) -> int | None:
        """None while mongod lives, else its exit code (negative: the signal that ended it)."""
        return self._started().poll()

    def restart(self) -> str:
        """After mongod died under us: the same sequence again, to the same URI. The directory stays held throughout."""
        ended = self._started()
        if not self._holder.holds:
            raise EmbeddedError("the embedded MongoDB was stopped: start it instead")
        ended.stop(timeout=30)
        try:
            return self._bring_up()
        except BaseException:
            self._started().stop(timeout=30)
            raise

    def stop(self, timeout: float = 30) -> None:
        """SIGTERM, wait, SIGKILL after `timeout` seconds; then give the directory back. Twice does no harm."""
        if not self._holder.holds:
            return
        try:
            if self._process is not None:
                self._process.stop(timeout)
            self._files.uri.unlink(missing_ok=True)
            if self._socket is not None:
                sockets.tidy_socket(self._files.root, self._socket)
        finally:
            self._holder.release()

    @property
    def pid(self) -> int:
        """Of mongod: the one that runs, or the last that did."""
        return self._started().pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _bring_up(self) -> str:
        began = time.monotonic()
        try:
            uri = self._sequence()
        except OSError as error:
            raise self._unusable(error) from error
        except PyMongoError as error:
            self._alive()  # where mongod has ended, that is the reason to tell
            raise EmbeddedError(f"the embedded MongoDB could not be set up: {error}") from error
        log.info("embedded MongoDB is up (pid %d, %.2f s)", self.pid, time.monotonic() - began)
        return uri

    def _sequence(self) -> str:
        files = self._files
        mongod = binary.find_mongod()
        version = binary.version_of(mongod)
        binary.refuse_older(mongod, version, files.version)
        files.db.mkdir(mode=0o700, exist_ok=True)
        # Letters, digits, + and / alone: what a key file may hold.
        key = made_once(files.key, lambda: base64.b64encode(secrets.token_bytes(48)).decode())
        root_password = made_once(files.root_password, lambda: secrets.token_urlsafe(32))
        password = made_once(files.user_password, lambda: secrets.token_urlsafe(32))
        wait_until_gone(files)
        socket = self._socket = sockets.place_socket(files.root)
        self._log_start = _put_aside(files.log)

        self._process = process.Process(process.command_line(mongod, files, socket, self._port))
        bootstrap.wait_listening(socket, self._alive)
        write_private(files.version, f"{version}\n")  # only now: one that could not open the files did not write them
        self._step("listening")
        with bootstrap.as_system(socket, key) as client:
            bootstrap.ensure_set(client, socket, self._alive)
            self._step("initiated")
            bootstrap.wait_primary(client, self._alive)
            self._step("primary")
        with bootstrap.as_system(socket, key) as client:
            bootstrap.ensure_root(client, socket, root_password)
            self._step("root")
            bootstrap.ensure_user(client, socket, password)
            self._step("user")
        uri = bootstrap.uri_of(socket, password)
        write_private(files.uri, uri + "\n")
        return uri

    def _alive(self) -> None:
        """Raise with the reason where mongod has ended."""
        code = self._started().poll()
        if code is not None:
            told = reason.why_it_ended(
                code, self._started().printed(), reason.tail_of(self._files.log, self._log_start)
            )
            raise EmbeddedError(f"the embedded MongoDB did not start, mongod {told} (log: {self._files.log})")

    def _started(self) -> process.Process:
        if self._process is None:
            raise EmbeddedError("the embedded MongoDB was not started")
        return self._process

    def _unusable(self, error: OSError) -> EmbeddedError:
        return EmbeddedError(
            f"the data directory {self._files.root} cannot be used ({error.filename or 'file'}: {error.strerror}): put"
            " that right, or set ALMANAC_DATA_DIR to a directory that this user may write"
        )


def _put_aside(path: Path) -> int:
    """Keep the log from growing without bound; the byte at which this run's lines begin."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return 0
    if size <= LOG_LIMIT:
        return size
    path.replace(path.with_name(path.name + ".1"))
    return 0
