"""Ends a child process with its parent, also when the parent is killed, and not by what is typed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from ml import terminal

PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int | None) -> None:
    """Have the kernel send SIGTERM to this process when process `parent` ends; None asks for nothing.

    It has no terminal from then on: it is for the parent to say what Ctrl-C means.
    The kernel watches the parent's thread that made this process, which must live as long as the parent does.
    """
    if parent is None or not sys.platform.startswith("linux"):
        return
    terminal.leave()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended before that, and no signal comes
        sys.exit(1)
