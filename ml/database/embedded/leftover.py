"""The mongod of an Almanac that was killed: it is given time to leave, then made to, before the next is started."""

from __future__ import annotations

import fcntl
import logging
import os
import time

import psutil

from ml.database.embedded.errors import EmbeddedError
from ml.database.embedded.files import DataFiles

log = logging.getLogger(__name__)

#: How long it may take to write down what it has and leave, seconds.
LEAVE_SECONDS = 20.0
#: How long the kernel may take to end it after SIGKILL, seconds.
KILL_SECONDS = 5.0
_POLL = 0.02


def wait_until_gone(files: DataFiles) -> None:
    """Return when no mongod has the files open. Call it as the holder of the directory: what is there is left over."""
    if not _is_there(files):
        return
    log.info("an earlier MongoDB is still leaving %s; waiting for it", files.db)
    # It had this signal when its parent died, except in the instant between the lock's end and the signal.
    for process in _ours(files):
        _send(process, kill=False)
    if _gone_within(LEAVE_SECONDS, files):
        return
    for process in _ours(files):
        log.warning("the earlier MongoDB (pid %d) did not leave within %g s and is killed", process.pid, LEAVE_SECONDS)
        _send(process, kill=True)
    if _gone_within(KILL_SECONDS, files):
        return
    raise EmbeddedError(
        f"{files.db} is in use by a MongoDB that this Almanac did not start ({_pid_text(files)}): stop it, or set"
        " ALMANAC_DATA_DIR to another directory"
    )


def _gone_within(seconds: float, files: DataFiles) -> bool:
    deadline = time.monotonic() + seconds
    while _is_there(files):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _is_there(files: DataFiles) -> bool:
    """By the flock(), which cannot lie; by the process list too, for one that has not come as far as taking it."""
    return _flock_held(files) or bool(_ours(files))


def _flock_held(files: DataFiles) -> bool:
    # The file's text, a pid, outlives kill -9 and proves nothing; F_GETLK does not see a flock().
    try:
        descriptor = os.open(files.db_lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # not left to close(): a child forked just now has a copy
        return False
    finally:
        os.close(descriptor)


def _ours(files: DataFiles) -> list[psutil.Process]:
    """Processes started with these files and this key: a mongod that a person started on the files has no such key."""
    wanted = {str(files.db), str(files.key)}
    return [found for found in psutil.process_iter(["cmdline"]) if wanted <= set(found.info["cmdline"] or ())]


def _send(process: psutil.Process, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied:
        log.warning("the earlier MongoDB (pid %d) belongs to another user", process.pid)


def _pid_text(files: DataFiles) -> str:
    try:
        text = files.db_lock.read_text().strip()
    except OSError:
        text = ""
    return f"pid {text}" if text.isdecimal() else "pid unknown"
