"""Which Almanac holds a data directory: a record lock on one file, freed by the kernel when the holder dies.

A record lock (fcntl) belongs to a process: forked children do not inherit it, so a holder that was killed frees it
though its children live. Its trap: closing any descriptor of the file drops the lock, whichever was closed. So within
one process the file is opened only where this process does not hold it, which `_held` knows.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from pathlib import Path

from ml.database.embedded.errors import DirectoryHeld, EmbeddedError
from ml.database.embedded.files import DataFiles

#: struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid.
_FLOCK = "hhqqi4x"

_guard = threading.Lock()
#: (device, inode) of each lock file held, and the pid of the holder: a forked child inherits this, but not the locks.
_held: dict[tuple[int, int], int] = {}


class Holder:
    """Holds one data directory between `acquire` and `release`."""

    def __init__(self, lock: Path, address: str | None) -> None:
        self._lock = lock
        self._address = address
        self._descriptor: int | None = None
        self._pid = 0

    @property
    def holds(self) -> bool:
        """Whether this process holds the directory through this object; False in a forked child."""
        return self._descriptor is not None and self._pid == os.getpid()

    def acquire(self) -> None:
        with _guard:
            if _held_here(self._lock):
                raise DirectoryHeld(_held_message(self._lock, os.getpid(), self._address))
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                try:
                    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError):
                    pid, address = _read(descriptor)
                    raise DirectoryHeld(_held_message(self._lock, pid, address)) from None
                text = f"{os.getpid()} {self._address or ''}\n".encode()
                os.pwrite(descriptor, text, 0)
                os.ftruncate(descriptor, len(text))
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor, self._pid = descriptor, os.getpid()
            _held[_identity(descriptor)] = self._pid

    def release(self) -> None:
        """Give the directory back. The file stays: removing it would let two processes lock two files of one name."""
        if not self.holds:
            return
        with _guard:
            assert self._descriptor is not None
            _held.pop(_identity(self._descriptor), None)
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def running_uri(data_dir: Path) -> str | None:
    """The URI of the MongoDB that a living Almanac runs on this directory now, else None: commands borrow it."""
    files = DataFiles(data_dir.resolve())
    try:
        if not _is_held(files.lock):
            return None
        return files.uri.read_text().strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EmbeddedError(f"{error.filename} cannot be read ({error.strerror}): run this as its owner") from error


def _is_held(lock: Path) -> bool:
    """Whether any process holds the lock. It is asked for, never taken, so that a start at this moment succeeds."""
    with _guard:
        if _held_here(lock):
            return True
        descriptor = os.open(lock, os.O_RDONLY)
        try:
            return _locked_by(descriptor) is not None
        finally:
            os.close(descriptor)


def _held_here(lock: Path) -> bool:
    try:
        status = lock.stat()
    except FileNotFoundError:
        return False
    return _held.get((status.st_dev, status.st_ino)) == os.getpid()


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _locked_by(descriptor: int) -> int | None:
    """The pid of the other process that holds the lock (0 or less: one that cannot be seen from here), or None."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(pid)


def _read(descriptor: int) -> tuple[int, str | None]:
    """Pid and address of the holder: the kernel's word for the pid where it has one, else the file's."""
    written, _, address = os.pread(descriptor, 4096, 0).decode(errors="replace").strip().partition(" ")
    pid = _locked_by(descriptor) or 0
    if pid <= 0 and written.isdecimal():
        pid = int(written)
    return pid, address or None


def _held_message(lock: Path, pid: int, address: str | None) -> str:
    where = f", {address}" if address else ""
    return (
        f"{lock.parent} is in use by another Almanac (pid {pid}{where}): stop that one, or set ALMANAC_DATA_DIR to"
        " another directory"
    )
