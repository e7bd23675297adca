"""Namespaces of its own for a process: no network, files that it cannot change, no rights with which to undo that.

The standard library alone. The process must have one thread: the kernel refuses a user namespace to others. Run as a
program, it ends with the reason where the kernel refuses here.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
#: The same number on every architecture; Linux 5.12.
_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY, _MS_PRIVATE, _MS_BIND = 1, 1 << 18, 1 << 12
#: The kernel's third version of capability sets (two words, each effective, permitted, inheritable), this process.
_HEADER = struct.pack("=Ii", 0x20080522, 0)
#: What a root whose files belong to others needs to read them; it gives no way to another namespace.
_CAP_DAC_OVERRIDE = 1 << 1

_libc = ctypes.CDLL(None, use_errno=True)


def cut_off(writable: Iterable[str] | None = None) -> str | None:
    """Move to a network namespace of its own, in which even loopback is down; None, or why the kernel refuses.

    Abstract unix sockets are out of reach too, those with a path in the file system are not. Where `writable`
    directories are named, every other file system but /proc is read-only to the process from then on, its modes and
    times too. Files that the process makes stay its user's. Either way rights above its user's own are given up for
    good.
    """
    rights = _permitted()  # before it is root of a user namespace and has them all there
    refused = _leave()
    if refused is None and writable is not None:
        refused = _freeze(writable)
    _keep_of(rights)
    return refused


def _leave() -> str | None:
    spaces = _CLONE_NEWNET | _CLONE_NEWNS
    if _libc.unshare(spaces) == 0:  # allowed to root
        return None
    # Who may make no other namespace may be root of a user namespace, and there may make them.
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER | spaces) != 0:
        return os.strerror(ctypes.get_errno())
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        try:
            Path("/proc/self", name).write_text(text)
        except OSError:
            # Without a map the process sees itself as nobody; for files it stays who it is.
            break
    return None


def _freeze(writable: Iterable[str]) -> str | None:
    try:
        # Nothing of it is told to the namespace that was left.
        _mount_attributes("/", _AT_RECURSIVE, set_=_MOUNT_ATTR_RDONLY, propagation=_MS_PRIVATE)
        _mount_attributes("/proc", 0, clear=_MOUNT_ATTR_RDONLY)
        for directory in writable:
            path = os.fsencode(directory)
            _done(_libc.mount(path, path, None, ctypes.c_ulong(_MS_BIND), None))
            _mount_attributes(directory, 0, clear=_MOUNT_ATTR_RDONLY)
        # The directory that the process is in is still that of the mount below.
        os.chdir(os.getcwd())  # noqa: PTH109 (kept to os, as what must not fail for a path's sake)
    except OSError as error:
        return error.strerror
    return None


def _mount_attributes(path: str, flags: int, *, set_: int = 0, clear: int = 0, propagation: int = 0) -> None:
    attributes = struct.pack("=4Q", set_, clear, propagation, 0)
    size = ctypes.c_size_t(len(attributes))
    _done(_libc.syscall(ctypes.c_long(_MOUNT_SETATTR), _AT_FDCWD, os.fsencode(path), flags, attributes, size))


def _done(answer: int) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _permitted() -> int:
    """The first word of the capabilities that the process may use."""
    present = ctypes.create_string_buffer(24)
    if _libc.capget(_HEADER, present) != 0:
        return 0
    permitted: int = struct.unpack("=6I", present.raw)[1]
    return permitted


def _keep_of(rights: int) -> None:
    """Root could enter its parent's namespace again, and a setuid program could make it root."""
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    kept = rights & _CAP_DAC_OVERRIDE
    _libc.capset(_HEADER, struct.pack("=6I", kept, kept, 0, 0, 0, 0))


if __name__ == "__main__":
    sys.exit(cut_off(()))
