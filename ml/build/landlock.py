"""Keeps a process to the files that it needs, for good, by Landlock (landlock(7)). The standard library alone.

It must have one thread: others would go on as they are. Run as a program, it ends with the reason where there is none.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

#: The same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_FOR_VERSION, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
#: How many of the rights to files a version knows: later ones brought REFER (2), TRUNCATE (3) and IOCTL_DEV (5).
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_MOST_RIGHTS = 16
#: To bind and to connect TCP ports, from version 4; abstract unix sockets and signals, from version 6.
_TCP, _TCP_SINCE = 0b11, 4
_SCOPES, _SCOPES_SINCE = 0b11, 6

_READ = _READ_FILE | _READ_DIR
#: Rights that a file can be given; the others are of directories.
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The kernel's reason."""


def version() -> int:
    """What the kernel knows of Landlock: 1 (Linux 5.13) or more. Raises Refused where it has none."""
    return _call(_CREATE_RULESET, None, 0, _ASK_FOR_VERSION)


def restrict(readable: Iterable[str], writable: Iterable[str]) -> str | None:
    """Refuse this process, and all that it starts, every other file and every TCP port; None, or why that cannot be.

    Both are files or directories, with all beneath them, each as it lies behind links; those that are not there are
    left out. What may be written may be read. Nothing can be executed. From Linux 6.12 on no process outside gets a
    signal; processes outside cannot be traced, nor can what only a tracer may see of them be read. Open files stay
    open, and modes, owners and times of files are no matter of Landlock.
    """
    try:
        known = version()
        handled = (1 << _RIGHTS.get(known, _MOST_RIGHTS)) - 1
        ruleset = _create(known, handled)
        try:
            for allowed, paths in ((_READ, readable), (handled & ~_EXECUTE, writable)):
                for opened in _opened(paths):
                    _allow(ruleset, opened, allowed)
            _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            _call(_RESTRICT_SELF, ruleset, 0)
        finally:
            os.close(ruleset)
    except Refused as refused:
        return str(refused)
    return None


def _create(known: int, handled: int) -> int:
    """A ruleset's descriptor. A kernel refuses attributes that are longer than what it knows."""
    attributes = [handled]
    if known >= _TCP_SINCE:
        attributes.append(_TCP)
    if known >= _SCOPES_SINCE:
        attributes.append(_SCOPES)
    packed = struct.pack(f"={len(attributes)}Q", *attributes)
    return _call(_CREATE_RULESET, packed, len(packed), 0)


def _opened(paths: Iterable[str]) -> Iterator[int]:
    for path in paths:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                yield descriptor
            finally:
                os.close(descriptor)


def _allow(ruleset: int, opened: int, rights: int) -> None:
    if not stat.S_ISDIR(os.fstat(opened).st_mode):
        rights &= _OF_FILES
    _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, opened), 0)


def _call(number: int, *arguments: bytes | int | None) -> int:
    # A bare int would be taken for 32 bits.
    given = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    done = int(_libc.syscall(ctypes.c_long(number), *given))
    if done < 0:
        raise Refused(os.strerror(ctypes.get_errno()))
    return done


def needed_by_python(source: Path) -> list[str]:
    """What a process reads that runs Python with all that is installed for it, and our own code in `source`.

    Of the system: libraries, time zones, and what TensorFlow and ONNX Runtime ask about processors, memory and devices.
    """
    installed = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    # Not all of the path: where somebody put the whole project on it, data may lie below.
    installed |= {entry for entry in sys.path if entry.endswith("-packages")}
    return [
        *sorted(installed - {"/"}),
        str(source),
        *("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/timezone"),
        *("/proc", "/sys/bus", "/sys/devices", "/sys/fs/cgroup", "/sys/kernel/mm"),
        *("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"),
    ]


#: A process says of itself how readily it may be killed for memory, and has its peak counted anew.
WRITTEN_BY_PYTHON = ("/dev/null", "/proc/self")


def unavailable() -> str | None:
    """Why there is no Landlock here; None where there is."""
    try:
        version()
    except Refused as refused:
        return str(refused)
    return None


if __name__ == "__main__":
    sys.exit(unavailable())
