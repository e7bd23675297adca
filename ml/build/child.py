"""The program that runs in the sandbox. It ties its life to the server's before it imports anything that takes time.

Arguments: the server's process id, the .keras file, the directory for artefacts and report.json, the MB of memory
that it may use, a .npy of sample rows or nothing, and the executor that is to be chosen or nothing.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main(server: str, model: str, out: str, memory_mb: str, sample: str, forced: str) -> int:
    """The exit code: 0 where report.json describes artefacts, 1 where it says why there are none."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The server may have died before that, and then no signal comes.
    if os.getppid() != int(server):
        return 1
    # Isolated mode (-I) leaves nothing of ours on the path.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from ml.build import steps

    return steps.main(Path(model), Path(out), int(memory_mb), Path(sample) if sample else None, forced or None)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
