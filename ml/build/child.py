"""The program that runs in the sandbox. It fences itself in, and ties its life to the server's, before anything else.

Arguments: the server's process id, the .keras file, the directory for artefacts and report.json, the MB of memory
that it may use, a .npy of sample rows or nothing, and the executor that is to be chosen or nothing. The directory that
it is started in is its own.
"""

import ctypes
import importlib.util
import os
import signal
import sys
from pathlib import Path
from types import ModuleType

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
HERE = Path(__file__).resolve().parent
OURS = HERE.parent


def main(server: str, model: str, out: str, memory_mb: str, sample: str, forced: str) -> int:
    """The exit code: 0 where report.json describes artefacts, 1 where it says why there are none."""
    alone("terminal", OURS).leave()
    missing = fence(int(server), readable=[os.path.realpath(path) for path in (model, sample) if path], writable=[out])
    if missing is None:
        return 1
    for line in missing:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
    from ml.build import steps

    return steps.main(Path(model), Path(out), int(memory_mb), Path(sample) if sample else None, forced or None)


def fence(server: int, readable: list[str], writable: list[str]) -> list[str] | None:
    """Give up all but the files named; what the kernel does not take, in words. None where the server is gone.

    Each fence is for what the others do not hold, or for where the kernel does not have them.
    """
    own = [os.path.realpath(path) for path in (*writable, ".")]
    namespaces = alone("isolation").cut_off(own)
    # After that, as the kernel forgets it where a process's rights change.
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Whatever of what it starts loses its parent becomes its own child, by which the server finds it.
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # The server may have died before that, and then no signal comes.
    if os.getppid() != server:
        return None
    # Isolated mode (-I) leaves nothing of ours on the path; and what lies beside our code is not to be read.
    package("ml", OURS)
    landlock, seccomp = alone("landlock"), alone("seccomp")
    files = landlock.restrict([*landlock.needed_by_python(OURS), *readable], [*landlock.WRITTEN_BY_PYTHON, *own])
    calls = seccomp.restrict()
    missing = []
    if namespaces and calls:
        missing.append(f"no network namespace ({namespaces}) and no seccomp ({calls}): it can reach the network")
    if files:
        missing.append(f"no Landlock ({files}): it can read what Almanac's user can")
        if namespaces:
            missing[-1] += ", and change it"
    if calls:
        missing.append(f"no seccomp ({calls}): it can start processes and send signals to those of Almanac's user")
    return [f"the kernel here holds a build with {one}" for one in missing]


def alone(name: str, directory: Path = HERE) -> ModuleType:
    """A file of ours, without its package, which imports numpy, which starts threads."""
    spec = importlib.util.spec_from_file_location(name, directory / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(name: str, directory: Path) -> None:
    """Make a package importable by its own directory, and nothing beside it."""
    spec = importlib.util.spec_from_file_location(
        name, directory / "__init__.py", submodule_search_locations=[str(directory)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
