"""The steps of a build inside the sandbox: check, load, ask Keras, export, prove, time, report. For the child alone."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml.build import choice, timing
from ml.build.keras_model import KerasModel, told
from ml.build.proof import Proof
from ml.build.report import BuildError
from ml.build.static_check import check_archive
from ml.executors import KINDS, executor_class
from ml.executors.base import Executor, ExecutorError

MOST_FILE_BYTES = 16 * 2**30


def main(model: Path, out: Path, memory_mb: int, sample: Path | None, forced: str | None) -> int:
    """Build; 0 where it worked. The report says why it did not."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_FILE_BYTES, MOST_FILE_BYTES))
    # Where the machine runs out of memory, this goes first, and neither the server nor its database.
    Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        report = build(model, out, memory_mb, sample, forced)
    except BuildError as error:
        say(error.reason)
        report = {"reason": error.reason}
    except Exception as error:  # noqa: BLE001 (a report is due, whatever happened)
        say(traceback.format_exc())
        report = {"reason": f"the build failed: {told(error)}"}
    unfinished = out / "report.json.tmp"
    unfinished.write_text(json.dumps(report))
    unfinished.replace(out / "report.json")
    return 1 if "reason" in report else 0


def build(file: Path, out: Path, memory_mb: int, sample: Path | None, forced: str | None) -> dict[str, Any]:
    """The report of a build that worked. `forced` is the executor that is to be chosen, whichever is quickest."""
    check_archive(file)
    say("loading the file with Keras")
    keras = KerasModel.load(file, Path.cwd() / "saved_model")
    signature = keras.signature
    say("inputs: " + ", ".join(f"{spec.name} {spec}" for spec in signature.inputs))
    say("outputs: " + ", ".join(f"{spec.name} {spec}" for spec in signature.outputs))
    say("asking Keras for the answers")
    proof = Proof(signature, keras.answer, half=keras.half, words=keras.words)
    proof.collect(sample)
    rows = proof.largest_batch()
    one = {name: values[:1] for name, values in rows.items()}
    compared = sum(int(case.rows.sum()) for case in proof.cases)
    milliseconds = {"1": timing.median_ms(lambda: keras.predict(one))}
    say(f"keras: model.predict takes {milliseconds['1']:.3g} ms for a row")
    table: list[dict[str, Any]] = [
        {"executor": "keras", "threads": _cores(), "ok": True, "worst": 0.0, "rows": compared, "ms": milliseconds}
    ]
    for kind in KINDS:
        executor = executor_class(kind)
        if executor.built and _installed(executor):
            table += tried(keras, proof, executor, out / kind, memory_mb)
    return {"signature": signature.to_document(), "ways": choice.ways(table, forced), "table": table}


def tried(
    keras: KerasModel, proof: Proof, executor: type[Executor], directory: Path, memory_mb: int
) -> Iterator[dict[str, Any]]:
    """The rows of the table for one executor, for each number of threads. One that fails does not fail the build."""
    say(f"{executor.name}: exporting")
    counts = executor.thread_counts(_cores())
    try:
        executor.export(keras, directory)
    except ExecutorError as error:
        yield _told(_row(executor, counts[0], reason=str(error)))
        return
    except Exception as error:  # noqa: BLE001 (so many converters, so many exceptions)
        say(traceback.format_exc())
        yield _told(_row(executor, counts[0], reason=f"cannot be exported: {told(error)}"))
        return
    for count in counts:
        row = _told(_proven(keras, proof, executor, directory, count, memory_mb))
        yield row
        if not row["ok"]:
            return  # what one thread gets wrong, more do too


def _proven(
    keras: KerasModel, proof: Proof, executor: type[Executor], directory: Path, threads: int, memory_mb: int
) -> dict[str, Any]:
    try:
        loaded = executor.load(directory, keras.signature, threads)
    except ExecutorError as error:
        return _row(executor, threads, reason=str(error))
    try:
        compared = proof.compare(loaded)
        row = _row(executor, threads, worst=compared.worst, rows=compared.rows)
        if compared.reason is not None:
            return row | {"reason": compared.reason}
        return row | {"ok": True, "ms": timing.executor_ms(loaded, proof.largest_batch(), memory_mb)}
    finally:
        loaded.close()


def _row(executor: type[Executor], threads: int, **found: Any) -> dict[str, Any]:
    row = {"executor": executor.name, "threads": threads, "ok": False, "worst": 0.0, "rows": 0, "ms": {}}
    return row | found


def _told(row: dict[str, Any]) -> dict[str, Any]:
    outcome = f"worst difference {row['worst']:.3g}, ms {row['ms']}" if row["ok"] else row["reason"]
    say(f"{row['executor']}, threads {row['threads']}: {outcome}")
    return row


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _installed(executor: type[Executor]) -> bool:
    missing = [name for name in executor.needs if importlib.util.find_spec(name) is None]
    if missing:
        say(f"{executor.name}: not tried, since {', '.join(missing)} is not installed")
    return not missing


def say(line: str) -> None:
    """A line of the log."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
