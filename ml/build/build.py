"""From an uploaded .keras file to artefacts that are proven equal to it: the steps that the server takes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml.build import bytecode, sandbox
from ml.build.report import BuildError, BuildReport
from ml.build.turns import Turn
from ml.signature import Signature

CHILD = Path(__file__).with_name("child.py")
MAX_REPORT_BYTES = 2**20


def build_model(
    file: Path,
    workdir: Path,
    *,
    seconds: float,
    memory_mb: int,
    sample: Path | None = None,
    forced: str | None = None,
    turn: Turn = Turn.EQUAL,
    progress: Callable[[str], None] | None = None,
    child: Path = CHILD,
) -> BuildReport:
    """Check and build `file` in a child process within `seconds` and `memory_mb`, and return what came of it.

    Blocks. `workdir` is an existing directory of the caller's, used for this build alone; the artefacts in the report
    lie under it. `sample` is a .npy of rows to prove on too, for a model with one input; `forced` the executor that
    is to be chosen whichever is quickest. A build whose `turn` is the last and never comes begins again as one that is
    behind. `progress` gets each line of the child's log as it comes, on the calling thread; an exception from it ends
    the build and is passed on. Raises BuildError where the file cannot be served.
    """
    started = time.monotonic()
    bytecode.prepare()
    home, out = workdir / "private", workdir / "out"
    # Keras goes by the ending of the name, whatever the upload was called.
    model = home / "model.keras"
    arguments = [str(model), str(out), str(memory_mb), str(sample.resolve()) if sample else "", forced or ""]

    def run(turn: Turn) -> sandbox.Ended:
        try:
            for directory in (home, out):
                directory.mkdir(mode=0o700)
            model.symlink_to(file.resolve())
            return sandbox.run_child(
                child, arguments, home=home, seconds=seconds, memory_mb=memory_mb, turn=turn, progress=progress
            )
        finally:
            shutil.rmtree(home, ignore_errors=True)

    try:
        ended = run(turn)
    except sandbox.Starved:
        if progress is not None:
            progress("the processors are busy without end: the build begins again and takes a share")
        shutil.rmtree(out)
        ended = run(Turn.BEHIND)
    report = _report(out / "report.json", ended)
    if ended.code != 0 or "reason" in report:
        raise BuildError(str(report.get("reason", f"the build {sandbox.described(ended.code)}"))[:1000], ended.log)
    try:
        return BuildReport(
            signature=Signature.from_document(report["signature"]),
            ways=[{"executor": str(way["executor"]), "threads": int(way["threads"])} for way in report["ways"]],
            artefacts={name: _artefact(out, name) for name in {str(way["executor"]) for way in report["ways"]}},
            table=[dict(row) for row in report["table"]],
            log=ended.log,
            seconds=time.monotonic() - started,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BuildError("the build left a report that cannot be read", ended.log) from error


def _report(path: Path, ended: sandbox.Ended) -> dict[str, Any]:
    """The child's report.json; it is written last and in one go, so a child that died on the way left none."""
    try:
        if path.is_symlink() or path.stat().st_size > MAX_REPORT_BYTES:
            raise ValueError
        report = json.loads(path.read_bytes())
        if not isinstance(report, dict):
            raise TypeError
    except FileNotFoundError:
        raise BuildError(f"the build {sandbox.described(ended.code)} before it was done", ended.log) from None
    except (OSError, ValueError, TypeError) as error:
        raise BuildError("the build left a report that cannot be read", ended.log) from error
    return report


def _artefact(out: Path, name: str) -> Path:
    """The directory of one artefact, of plain files and directories alone: whoever stores it follows no link."""
    directory = out / name
    if directory.parent != out or not directory.is_dir():
        raise ValueError(name)
    for path in (directory, *directory.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(path)
    return directory
