"""Parts a process from the terminal that it was started in. The standard library alone."""

from __future__ import annotations

import fcntl
import os
import termios


def leave() -> None:
    """Have no terminal any more: what is typed there does not come, nothing can be typed in its name.

    As in a session of its own, which some kernels give a share of the processors of its own too (sched(7), autogroup);
    then nothing in it can step back for what is outside. Not for the leader of a session, who would end all in it.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return  # there is none
    try:
        fcntl.ioctl(terminal, termios.TIOCNOTTY)
    finally:
        os.close(terminal)
