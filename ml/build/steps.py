"""The steps of a build inside the sandbox: load, ask Keras, export, prove, time, report. For the child alone."""

from __future__ import annotations

import json
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml.build import export, timing
from ml.build.keras_model import KerasModel, told
from ml.build.proof import Proof
from ml.build.report import BuildError
from ml.executors.base import Executor, ExecutorError
from ml.executors.onnx import OnnxExecutor
from ml.executors.tf import TfExecutor

MOST_FILE_BYTES = 16 * 2**30
#: Every way of running a model: how it is exported, and what runs that.
WAYS: tuple[tuple[Callable[[KerasModel, Path], None], type[Executor]], ...] = (
    (export.onnx, OnnxExecutor),
    (export.saved_model, TfExecutor),
)


def main(model: Path, out: Path, memory_mb: int, sample: Path | None) -> int:
    """Build; 0 where it worked. The report says why it did not."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_FILE_BYTES, MOST_FILE_BYTES))
    # Where the machine runs out of memory, this goes first, and neither the server nor its database.
    Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        report = build(model, out, memory_mb, sample)
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


def build(file: Path, out: Path, memory_mb: int, sample: Path | None) -> dict[str, Any]:
    """The report of a build that worked."""
    say("loading the file with Keras")
    keras = KerasModel.load(file)
    signature = keras.signature
    say("inputs: " + ", ".join(f"{spec.name} {spec}" for spec in signature.inputs))
    say("outputs: " + ", ".join(f"{spec.name} {spec}" for spec in signature.outputs))
    say("asking Keras for the answers")
    proof = Proof(signature, keras.answer, half=keras.half, words=keras.words)
    proof.collect(sample)
    rows = proof.largest_batch()
    one = {name: values[:1] for name, values in rows.items()}
    compared = sum(int(case.rows.sum()) for case in proof.cases)
    table: list[dict[str, Any]] = [
        {
            "executor": "keras",
            "ok": True,
            "worst": 0.0,
            "rows": compared,
            "ms": {"1": timing.median_ms(lambda: keras.predict(one))},
            "artefact": False,
        }
    ]
    for write, executor in WAYS:
        say(f"{executor.name}: exporting, comparing with Keras, timing")
        row = try_way(keras, proof, write, executor, out / executor.name, memory_mb)
        outcome = f"worst difference {row['worst']:.3g}, ms {row['ms']}" if row["ok"] else row["reason"]
        say(f"{executor.name}: {outcome}")
        table.append(row)
    able = [row for row in table if row["artefact"]]
    if not able:
        reasons = "; ".join(f"{row['executor']} {row['reason']}" for row in table if not row["ok"])
        raise BuildError(f"no way of running the model agrees with Keras: {reasons}")
    chosen = min(able, key=lambda row: timing.typical_ms(row["ms"]))
    return {"signature": signature.to_document(), "executor": chosen["executor"], "table": table}


def try_way(
    keras: KerasModel,
    proof: Proof,
    write: Callable[[KerasModel, Path], None],
    executor: type[Executor],
    directory: Path,
    memory_mb: int,
) -> dict[str, Any]:
    """One row of the table. One way that fails does not fail the build."""
    row: dict[str, Any] = {"executor": executor.name, "ok": False, "worst": 0.0, "rows": 0, "ms": {}, "artefact": False}
    try:
        write(keras, directory)
    except Exception as error:  # noqa: BLE001 (so many converters, so many exceptions)
        say(traceback.format_exc())
        return row | {"reason": f"cannot be exported: {told(error)}"}
    try:
        loaded = executor.load(directory, keras.signature)
    except ExecutorError as error:
        return row | {"reason": str(error)}
    compared = proof.compare(loaded)
    row |= {"worst": compared.worst, "rows": compared.rows}
    if compared.reason is not None:
        return row | {"reason": compared.reason}
    row["ms"] = timing.executor_ms(loaded, proof.largest_batch(), memory_mb)
    return row | {"ok": True, "artefact": True}


def say(line: str) -> None:
    """A line of the log."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
