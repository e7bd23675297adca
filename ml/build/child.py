"""The program that runs in the sandbox. It cuts itself off, and ties its life to the server's, before anything else.

Arguments: the server's process id, the .keras file, the directory for artefacts and report.json, the MB of memory
that it may use, a .npy of sample rows or nothing, and the executor that is to be chosen or nothing.
"""

import ctypes
import importlib.util
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main(server: str, model: str, out: str, memory_mb: str, sample: str, forced: str) -> int:
    """The exit code: 0 where report.json describes artefacts, 1 where it says why there are none."""
    refused = _cut_off()
    # After that, as the kernel forgets it where a process's rights change.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The server may have died before that, and then no signal comes.
    if os.getppid() != int(server):
        return 1
    if refused is not None:
        sys.stdout.write(f"the kernel allows no network namespace here ({refused}): the build can reach the network\n")
        sys.stdout.flush()
    # Isolated mode (-I) leaves nothing of ours on the path.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from ml.build import steps

    return steps.main(Path(model), Path(out), int(memory_mb), Path(sample) if sample else None, forced or None)


def _cut_off() -> str | None:
    """Why the network could not be left. The file is read alone: its package imports numpy, which starts threads."""
    spec = importlib.util.spec_from_file_location("isolation", Path(__file__).with_name("isolation.py"))
    assert spec is not None
    assert spec.loader is not None
    isolation = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(isolation)
    refused: str | None = isolation.cut_off()
    return refused


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
