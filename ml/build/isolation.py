"""Cuts a process off from every network, and from the rights with which it could undo that. The standard library alone.

The process must have one thread: the kernel refuses a user namespace to others. Run as a program, it ends with the
reason where the kernel refuses here.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
#: The kernel's third version of capability sets (two words, each effective, permitted, inheritable), this process.
_HEADER = struct.pack("=Ii", 0x20080522, 0)
#: What a root whose files belong to others needs to read them; it gives no way to another namespace.
_CAP_DAC_OVERRIDE = 1 << 1

_libc = ctypes.CDLL(None, use_errno=True)


def cut_off() -> str | None:
    """Move to a network namespace of its own, in which even loopback is down; None, or why the kernel refuses.

    Abstract unix sockets are out of reach too, those with a path in the file system are not. Files that the process
    makes stay its user's. Either way rights above its user's own are given up for good.
    """
    rights = _permitted()  # before it is root of a user namespace and has them all there
    refused = _leave_network()
    _keep_of(rights)
    return refused


def _leave_network() -> str | None:
    if _libc.unshare(_CLONE_NEWNET) == 0:  # allowed to root
        return None
    # Who may not make a network namespace may be root of a user namespace, and there may make one.
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return os.strerror(ctypes.get_errno())
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        try:
            Path("/proc/self", name).write_text(text)
        except OSError:
            # Without a map the process sees itself as nobody; for files it stays who it is.
            break
    return None


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
    sys.exit(cut_off())
