"""From a Keras model to what an executor loads. For the child alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml.build.keras_model import KerasModel
from ml.executors.onnx import FILE
from ml.executors.tf import FUNCTION, input_key

#: The newest set of operators that the converter writes well.
OPSET = 17


def saved_model(model: KerasModel, directory: Path) -> None:
    """Write what TfExecutor loads: one function by positions, its variables and its tables."""
    from keras import export

    archive = export.ExportArchive()
    archive.track(model.model)
    archive.add_endpoint(FUNCTION, model.function)
    archive.write_out(str(directory), verbose=False)


def onnx(model: KerasModel, directory: Path) -> None:
    """Write what OnnxExecutor loads: the graph with its variables as constants.

    Keras's own export makes an input of every captured constant, such as a Normalization layer's mean, and then the
    graph cannot be run; a graph that was frozen before has none.
    """
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    concrete = model.function.get_concrete_function()
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False, aggressive_inlining=True)
    inputs = [tensor.name for tensor in frozen.inputs]
    outputs = [tensor.name for tensor in frozen.outputs]
    if len(inputs) != len(model.signature.inputs):
        raise ValueError(f"the frozen graph has {len(inputs)} inputs for {len(model.signature.inputs)}")
    # TensorFlow flattens a function's results in the order of their names.
    keys = sorted(concrete.structured_outputs)
    names = {tensor: input_key(number) for number, tensor in enumerate(inputs)} | dict(zip(outputs, keys, strict=True))
    graph, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(add_shapes=True),
        input_names=inputs,
        output_names=outputs,
        opset=OPSET,
        tensors_to_rename=names,
        custom_op_handlers={"Erfc": (_erfc, [])},
    )
    directory.mkdir()
    (directory / FILE).write_bytes(graph.SerializeToString())


def _erfc(graph: Any, node: Any, _name: str, _arguments: Any) -> None:
    """The complement of Erf, which GELU is made with and the converter does not know: 1 - Erf(x)."""
    import numpy as np

    node.type, node.domain = "Erf", ""
    one = graph.make_const(f"{node.name}_one", np.array(1, np.float32))
    graph.insert_new_node_on_output(
        "Sub", node.output[0], name=f"{node.name}_complement", inputs=[one.output[0], node.output[0]]
    )
