"""A child program for tests: fenced in as a build's is, it then does what a model would that had got past the check.

What it does is in the environment of nobody: it takes the file for a program, or, where the file is a model, loads it
with Keras without the static check and without Keras's safe mode.
"""

import runpy
import sys
import zipfile
from pathlib import Path

BUILD = Path(__file__).resolve().parents[2] / "ml" / "build"


def main(server: str, model: str, out: str, memory_mb: str, sample: str, forced: str) -> int:
    child = runpy.run_path(str(BUILD / "child.py"))
    missing = child["fence"](int(server), [str(Path(model).resolve())], [out])
    for line in missing:
        print(line, flush=True)
    from ml.build import steps

    vars(steps)["check_archive"] = lambda file: None
    if zipfile.is_zipfile(model):
        unsafe()
    else:
        source = Path(model).read_text()
        vars(steps)["KerasModel"] = Program(source)
    return int(steps.main(Path(model), Path(out), int(memory_mb), None, None))


def unsafe() -> None:
    """Keras loads what it would refuse."""
    from ml.build.keras_model import import_keras

    saving = import_keras().saving
    load = saving.load_model
    saving.load_model = lambda file, **options: load(file, **{**options, "safe_mode": False})


class Program:
    """In the place of KerasModel: its load runs the code."""

    def __init__(self, source: str) -> None:
        self._source = source

    def load(self, file: Path, scratch: Path) -> None:
        exec(self._source, {})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
