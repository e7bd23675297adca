"""One mongod process: how it is started, watched and stopped, so that it never outlives Almanac.

The trap in PR_SET_PDEATHSIG: the signal is sent when the *thread* that started the process ends, not only when its
whole process does. Each mongod is therefore started by a thread of its own that waits until mongod is gone, and
callers may be on any thread.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future
from pathlib import Path

import psutil

from ml.database.embedded.files import DataFiles

log = logging.getLogger(__name__)

REPLICA_SET = "rs0"
PARAMETERS = (
    # Before the first user exists, anyone on this machine could make one through the loopback port. The bootstrap
    # logs in with the key instead.
    "enableLocalhostAuthBypass=false",
    # A worker that is killed within a commit leaves its transaction open, and its job's next worker waits for it.
    "transactionLifetimeLimitSeconds=20",
)
_LAUNCHER = Path(__file__).with_name("launcher.py")
_GIB = 2**30


def command_line(binary: Path, files: DataFiles, socket: Path, port: int | None) -> list[str]:
    """mongod and its options: the unix socket alone, and 127.0.0.1 too where `port` is given."""
    threads = eviction_threads(os.cpu_count() or 1)
    options = {
        "--dbpath": files.db,
        "--replSet": REPLICA_SET,
        "--keyFile": files.key,
        "--bind_ip": socket if port is None else f"{socket},127.0.0.1",
        "--logpath": files.log,
        "--wiredTigerCacheSizeGB": f"{cache_gb(psutil.virtual_memory().total):.2f}",
        "--wiredTigerEngineConfigString": f"eviction=(threads_min=1,threads_max={threads})",
    }
    if port is not None:
        options["--port"] = str(port)
    # --nounixsocket leaves out the default one alone, /tmp/mongodb-27017.sock, over which mongods here would fight.
    flags = ["--auth", "--noscripting", "--logappend", "--nounixsocket"]
    parameters = [f"--setParameter={parameter}" for parameter in PARAMETERS]
    return [str(binary), *(str(part) for option in options.items() for part in option), *parameters, *flags]


def cache_gb(memory: int) -> float:
    """WiredTiger's cache for a machine with `memory` bytes, in GB: a tenth, within what it needs and what is enough."""
    return max(0.25, min(4.0, 0.1 * memory / _GIB))


def eviction_threads(cores: int) -> int:
    """How many threads write out what the cache has too much of.

    MongoDB has four, all at once every few seconds: on two cores predictions then wait for a tenth of a second.
    """
    return max(1, min(4, cores // 2))


class Process:
    """A program that is ended with this process, however this process ends; not reached by Ctrl-C in its terminal."""

    def __init__(self, command: list[str]) -> None:
        self._over = threading.Event()
        self._settling = threading.Lock()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._printed = ""
        started: Future[subprocess.Popen[bytes]] = Future()
        threading.Thread(target=self._keep, args=(command, started), name="mongod-keeper", daemon=True).start()
        try:
            self._popen = started.result()
        except BaseException:
            self._settle()  # ends the keeper, and with it what it may have started
            raise

    def _keep(self, command: list[str], started: Future[subprocess.Popen[bytes]]) -> None:
        try:
            popen = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                process_group=0,  # and not a session: see ml/terminal.py
                cwd="/",
                # mongod needs no setting of ours, and some of them are secrets
                env={name: value for name, value in os.environ.items() if not name.startswith("ALMANAC_")},
            )
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
            started.set_exception(error)
            return
        started.set_result(popen)
        self._over.wait()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def poll(self) -> int | None:
        """None while it lives, else its exit code (negative: the signal that ended it)."""
        code = self._popen.poll()
        if code is not None:
            self._settle()
        return code

    def stop(self, timeout: float) -> None:
        """SIGTERM, wait, SIGKILL after `timeout` seconds. Returns when it is gone; nothing where it already is."""
        if self.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(timeout)
            except subprocess.TimeoutExpired:
                log.warning("MongoDB (pid %d) did not stop within %g s and is killed", self.pid, timeout)
                self._popen.kill()
                self._popen.wait()
        self._settle()

    def printed(self) -> str:
        """What it had written to stdout and stderr when it ended: little, as the log has a file of its own."""
        return self._printed

    def _settle(self) -> None:
        with self._settling:
            if not self._over.is_set():
                self._printed = os.pread(self._output.fileno(), 64 * 1024, 0).decode(errors="replace")
                self._output.close()
                self._over.set()
