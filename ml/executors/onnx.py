"""An ONNX graph run by ONNX Runtime: neither Keras nor TensorFlow is needed where it is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.executors.base import Arrays, Executor, ExecutorError, Source, check_names, checked, input_key, output_key
from ml.signature import Signature

#: The graph's name in an artefact.
FILE = "model.onnx"
#: The newest set of operators that the converter writes well.
OPSET = 17
#: Constants from this size on are kept from the converter.
LARGE_BYTES = 16_384


class OnnxExecutor(Executor):
    """Runs a graph that holds its weights as constants."""

    name = "onnx"
    needs: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    cannot = "strings that are no UTF-8, text layers, and operations that the converter does not know"

    def __init__(self, session: Any, signature: Signature) -> None:
        self._session = session
        self._signature = signature
        self._outputs = [output_key(number) for number in range(len(signature.outputs))]

    @classmethod
    def load(cls, artefact: Path, signature: Signature, threads: int = 1) -> OnnxExecutor:
        try:
            import onnxruntime
        except ImportError as error:
            raise ExecutorError(f"ONNX Runtime cannot be imported: {error}") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A thread that waits for its next part by spinning takes the core from requests, commits and the database.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(str(artefact / FILE), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ExecutorError(f"ONNX Runtime cannot load the graph: {error}") from error
        check_names(
            {entry.name for entry in session.get_inputs()}, {entry.name for entry in session.get_outputs()}, signature
        )
        return cls(session, signature)

    @classmethod
    def export(cls, source: Source, directory: Path) -> None:
        """Convert the function, frozen first.

        Keras's own export makes an input of every captured constant, such as a Normalization layer's mean, and then the
        graph cannot be run; a graph that was frozen before has none.
        """
        import tf2onnx
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        concrete = source.function.get_concrete_function()
        frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False, aggressive_inlining=True)
        inputs = [tensor.name for tensor in frozen.inputs]
        outputs = [tensor.name for tensor in frozen.outputs]
        if len(inputs) != len(source.signature.inputs):
            raise ValueError(f"the frozen graph has {len(inputs)} inputs for {len(source.signature.inputs)}")
        definition = frozen.graph.as_graph_def(add_shapes=True)
        weights = _take_weights(definition)
        # TensorFlow flattens a function's results in the order of their names.
        keys = sorted(concrete.structured_outputs)
        names = {tensor: input_key(number) for number, tensor in enumerate(inputs)}
        model, _ = tf2onnx.convert.from_graph_def(
            definition,
            input_names=[*inputs, *weights],
            output_names=outputs,
            opset=OPSET,
            tensors_to_rename=names | dict(zip(outputs, keys, strict=True)),
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
        _give_weights(model.graph, weights)
        directory.mkdir()
        _write(model, directory / FILE)

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        feed = {}
        for number, spec in enumerate(self._signature.inputs):
            array = checked("input", spec, inputs[spec.name])
            feed[input_key(number)] = _text(array) if spec.dtype == "BYTES" else array
        answer = self._session.run(self._outputs, feed)
        return {
            spec.name: checked("output", spec, _bytes(values) if spec.dtype == "BYTES" else values)
            for spec, values in zip(self._signature.outputs, answer, strict=True)
        }

    def close(self) -> None:
        self._session = None

    @property
    def signature(self) -> Signature:
        return self._signature


def _take_weights(definition: Any) -> dict[str, NDArray[Any]]:
    """Make inputs of a graph's large constants, in place; their values by the tensor's name.

    Each of the converter's passes keeps a copy of every constant: the 100 MB of ResNet50 took 4 GB and 16 s, and so
    take 0.2 GB and 2 s.
    """
    import tensorflow as tf

    weights = {}
    for node in definition.node:
        if node.op == "Const" and node.attr["value"].tensor.ByteSize() >= LARGE_BYTES:
            values = tf.make_ndarray(node.attr["value"].tensor)
            if values.dtype.kind == "f":
                weights[f"{node.name}:0"] = values
                node.op = "Placeholder"
                del node.attr["value"]
                node.attr["shape"].shape.CopyFrom(tf.TensorShape(values.shape).as_proto())
    return weights


def _give_weights(graph: Any, weights: dict[str, NDArray[Any]]) -> None:
    """Make constants again of the inputs that `_take_weights` made."""
    from onnx import numpy_helper

    inputs = [entry for entry in graph.input if entry.name not in weights]
    used = {name for node in graph.node for name in node.input} | {entry.name for entry in graph.output}
    del graph.input[:]
    graph.input.extend(inputs)
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in weights.items() if name in used)


def _write(model: Any, file: Path) -> None:
    """Write the model after what can be worked out of it beforehand, on any processor, such as turned kernels."""
    import onnxruntime

    converted = file.with_name("converted.onnx")
    converted.write_bytes(model.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(file)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(converted), options, providers=["CPUExecutionProvider"])
    converted.unlink()


def _text(array: NDArray[Any]) -> NDArray[Any]:
    """ONNX strings are text; what is not UTF-8 fails here."""
    return np.array([item.decode() for item in array.reshape(-1)], object).reshape(array.shape)


def _bytes(array: NDArray[Any]) -> NDArray[Any]:
    flat = np.empty(array.size, object)
    flat[:] = [item.encode() if isinstance(item, str) else item for item in array.reshape(-1)]
    return flat.reshape(array.shape)


def _erfc(graph: Any, node: Any, _name: str, _arguments: Any) -> None:
    """The complement of Erf, which GELU is made with and the converter does not know: 1 - Erf(x)."""
    node.type, node.domain = "Erf", ""
    one = graph.make_const(f"{node.name}_one", np.array(1, np.float32))
    graph.insert_new_node_on_output(
        "Sub", node.output[0], name=f"{node.name}_complement", inputs=[one.output[0], node.output[0]]
    )
