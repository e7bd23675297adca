"""A program that tries one executor, for a process of its own: what it imports does not stay, nor does its crash hurt.

Argument: the executor's name. It prints JSON: `packages` with versions, `problem` where it cannot run here.
"""

from __future__ import annotations

import base64
import importlib.metadata
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ml.executors import executor_class, load_executor
from ml.executors.base import ExecutorError
from ml.signature import Signature, TensorSpec

SIGNATURE = Signature(inputs=(TensorSpec("x", "FP32", (2,)),), outputs=(TensorSpec("y", "FP32", (2,)),))
#: An ONNX graph of that signature that adds its input to itself: what makes such graphs is not installed everywhere.
GRAPH = (
    "CAg6WQohCgdpbnB1dF8wCgdpbnB1dF8wEghvdXRwdXRfMCIDQWRkEgFnWhcKB2lucHV0XzASDAoKCAESBgoACgIIAmIYCghvdXRwdXRfMBIMCgoI"
    "ARIGCgAKAggCQgQKABAN"
)


def _onnx(directory: Path) -> None:
    (directory / "model.onnx").write_bytes(base64.b64decode(GRAPH))


def _openvino(directory: Path) -> None:
    from ml.executors.openvino import package

    openvino = package()
    graph = openvino.Core().read_model(base64.b64decode(GRAPH))
    openvino.save_model(graph, str(directory / "model.xml"), compress_to_fp16=False)


def _tf(directory: Path) -> None:
    from ml.executors.tf import FUNCTION, tensorflow

    tf = tensorflow()
    module = tf.Module()
    double = tf.function(
        lambda input_0: {"output_0": input_0 + input_0}, input_signature=[tf.TensorSpec((None, 2), name="input_0")]
    )
    tf.saved_model.save(module, str(directory), signatures={FUNCTION: double})


def _stub(directory: Path) -> None:
    (directory / "stub.json").write_text("{}")


#: What writes a small artefact of SIGNATURE. An executor without one is only looked for.
ARTEFACTS: dict[str, Callable[[Path], None]] = {"onnx": _onnx, "openvino": _openvino, "tf": _tf, "stub": _stub}


def main(kind: str) -> dict[str, Any]:
    needs = executor_class(kind).needs
    missing = [name for name in needs if importlib.util.find_spec(name) is None]
    if missing:
        return {"packages": {}, "missing": missing, "problem": f"{', '.join(missing)} is not installed"}
    found: dict[str, Any] = {"packages": {name: _version(name) for name in needs}, "problem": None}
    if kind not in ARTEFACTS:
        return found
    with tempfile.TemporaryDirectory() as directory:
        try:
            ARTEFACTS[kind](Path(directory))
            executor = load_executor(kind, Path(directory), SIGNATURE)
            answer = executor.run({"x": np.array([[1, 1]], "f4")})["y"]
            executor.close()
        except ExecutorError as error:
            found["problem"] = str(error)
        else:
            # Every artefact here gives 2 first: the double of 1, or the sum of the row.
            if answer.shape != (1, 2) or answer[0, 0] != 2:
                found["problem"] = f"it computes wrong: {answer.tolist()} for 1 + 1"
    return found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))  # noqa: T201 (the answer)
