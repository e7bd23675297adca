"""An ONNX graph run by ONNX Runtime: neither Keras nor TensorFlow is needed where it is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.executors.base import Arrays, Executor, ExecutorError
from ml.executors.tf import input_key, output_key
from ml.signature import Signature

#: The graph's name in an artefact.
FILE = "model.onnx"


class OnnxExecutor(Executor):
    """Runs the graph that ml/build/export.py writes. Inputs and outputs go by number, in the signature's order."""

    name = "onnx"

    def __init__(self, session: Any, signature: Signature) -> None:
        self._session = session
        self._signature = signature
        self._outputs = [output_key(number) for number in range(len(signature.outputs))]

    @classmethod
    def load(cls, artefact: Path, signature: Signature) -> OnnxExecutor:
        try:
            import onnxruntime
        except ImportError as error:
            raise ExecutorError(f"ONNX Runtime cannot be imported: {error}") from error
        options = onnxruntime.SessionOptions()
        # One thread a model: requests, commits and the database need the other cores.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(str(artefact / FILE), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ExecutorError(f"ONNX Runtime cannot load the graph: {error}") from error
        inputs = {entry.name for entry in session.get_inputs()}
        outputs = {entry.name for entry in session.get_outputs()}
        if inputs != {input_key(n) for n in range(len(signature.inputs))} or outputs != {
            output_key(n) for n in range(len(signature.outputs))
        }:
            raise ExecutorError("the graph's inputs and outputs are not those of the signature")
        return cls(session, signature)

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        feed = {}
        for number, spec in enumerate(self._signature.inputs):
            array = inputs[spec.name]
            if array.dtype != spec.numpy_dtype:
                raise TypeError(f"input {spec.name!r} is {array.dtype}, not {spec.numpy_dtype}")
            feed[input_key(number)] = _text(array) if spec.dtype == "BYTES" else array
        answer = self._session.run(self._outputs, feed)
        outputs = {}
        for spec, values in zip(self._signature.outputs, answer, strict=True):
            array = _bytes(values) if spec.dtype == "BYTES" else values
            if array.dtype != spec.numpy_dtype:
                raise TypeError(f"output {spec.name!r} came as {array.dtype}, not {spec.numpy_dtype}")
            outputs[spec.name] = array
        return outputs

    def close(self) -> None:
        self._session = None

    @property
    def signature(self) -> Signature:
        return self._signature


def _text(array: NDArray[Any]) -> NDArray[Any]:
    """ONNX strings are text; what is not UTF-8 fails here."""
    return np.array([item.decode() for item in array.reshape(-1)], object).reshape(array.shape)


def _bytes(array: NDArray[Any]) -> NDArray[Any]:
    flat = np.empty(array.size, object)
    flat[:] = [item.encode() if isinstance(item, str) else item for item in array.reshape(-1)]
    return flat.reshape(array.shape)
