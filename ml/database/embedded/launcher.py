"""Run as a program between Almanac and mongod: ask the kernel to end this process with its parent, become mongod.

    python -I -S launcher.py PARENT_PID PROGRAM ARGUMENTS...

A program of its own, because `preexec_fn` is unsafe in a process with threads and `setpriv` is not everywhere.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    parent, *command = arguments
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):  # it died before the line above: nobody would send the signal
        sys.exit("the parent is gone")
    os.execv(command[0], command)  # noqa: S606 # nosec B606 # the same process, so the request outlives exec


if __name__ == "__main__":
    main(sys.argv[1:])
