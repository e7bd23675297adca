"""A graph run by OpenVINO, where that is installed (`almanac[openvino]`)."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.executors.base import Arrays, Executor, ExecutorError, Source, check_names, checked, input_key, output_key
from ml.signature import Signature

#: The graph's name in an artefact; its weights lie beside it in a .bin.
FILE = "model.xml"


class OpenvinoExecutor(Executor):
    """Runs a graph that OpenVINO has read from the SavedModel."""

    name = "openvino"
    needs: ClassVar[tuple[str, ...]] = ("openvino",)
    cannot = "strings, and operations that its reader does not know"

    def __init__(self, compiled: Any, signature: Signature) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._signature = signature
        self._outputs = [compiled.output(output_key(number)) for number in range(len(signature.outputs))]

    @classmethod
    def load(cls, artefact: Path, signature: Signature, threads: int = 1) -> OpenvinoExecutor:
        _no_strings(signature)
        openvino = package()
        settings = {
            # Where the processor has it, bfloat16 is the default, which is off by a thousandth.
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": str(threads),
            "NUM_STREAMS": "1",
            "ENABLE_CPU_PINNING": "NO",
        }
        try:
            compiled = openvino.Core().compile_model(str(artefact / FILE), "CPU", settings)
        except Exception as error:
            raise ExecutorError(f"OpenVINO cannot load the graph: {_gist(error)}") from error
        check_names(
            {name for port in compiled.inputs for name in port.get_names()},
            {name for port in compiled.outputs for name in port.get_names()},
            signature,
        )
        return cls(compiled, signature)

    @classmethod
    def export(cls, source: Source, directory: Path) -> None:
        _no_strings(source.signature)
        openvino = package()
        graph = openvino.Core().read_model(str(source.saved_model()))
        # Its reader adds names of its own, and leaves the order of the inputs open.
        for ports, key, count in (
            (graph.inputs, input_key, len(source.signature.inputs)),
            (graph.outputs, output_key, len(source.signature.outputs)),
        ):
            for number in range(count):
                (port,) = (port for port in ports if any(_plain(name) == key(number) for name in port.get_names()))
                port.get_tensor().set_names({key(number)})
        directory.mkdir()
        openvino.save_model(graph, str(directory / FILE), compress_to_fp16=False)

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        feed = {
            input_key(number): checked("input", spec, inputs[spec.name])
            for number, spec in enumerate(self._signature.inputs)
        }
        answer = self._request.infer(feed, share_inputs=True, share_outputs=True)
        # What is shared is overwritten by the next call.
        return {
            spec.name: checked("output", spec, np.array(answer[port]))
            for spec, port in zip(self._signature.outputs, self._outputs, strict=True)
        }

    def close(self) -> None:
        self._request = self._compiled = None

    @property
    def signature(self) -> Signature:
        return self._signature


def package() -> Any:
    """The package, without its telemetry, which it does as well without. Raises ExecutorError where it is not there."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise ExecutorError(f"OpenVINO cannot be imported: {error}") from error


def _no_strings(signature: Signature) -> None:
    for spec in (*signature.inputs, *signature.outputs):
        if spec.dtype == "BYTES":
            raise ExecutorError(f"OpenVINO runs no strings, and {spec.name!r} is {spec}")


def _plain(name: str) -> str:
    """`input_0` of `serve_input_0:0`."""
    return name.partition(":")[0].removeprefix("serve_")


def _gist(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:400]
