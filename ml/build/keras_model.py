"""The model as Keras runs it: its signature, and its answers, by which artefacts are judged. For the child alone."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.build.report import BuildError
from ml.executors.base import Arrays, input_key, output_key
from ml.executors.tf import FUNCTION, UNUSED, tensorflow, without
from ml.signature import Signature, TensorSpec, kserve_dtype

#: A model that takes longer than this for one answer (a recurrent one over many steps) is compiled by Keras first.
SLOW_SECONDS = 1.5
#: Where in a graph, and on which of TensorFlow's devices, something happened.
_NODES = re.compile(r"\{\{[^}]*\}\} ?| on /job:\S+( by allocator \S+)?| \[Op:\w+\]( name:)?")
#: How Keras begins when it tells of weights that it cannot load.
_WEIGHTS = re.compile(r"A total of \d+ objects could not be loaded\. Example error message for object ")


class KerasModel:
    """A loaded Keras model behind names: arrays by input name in, arrays by output name out."""

    def __init__(self, model: Any, scratch: Path) -> None:
        self.model = model
        self._saved_model = scratch
        self._structure = _inputs(model)
        names, specs = _input_specs(self._structure)
        self.function = self._trace(specs)
        self.signature = Signature(inputs=tuple(names), outputs=tuple(_output_specs(model, self.function)))
        # Asked operation by operation at first, which is as far as can be from what is compared with it.
        self._slow = False
        layers = list(model._flatten_layers())
        #: Whether any layer computes in half precision.
        self.half = any(getattr(layer, "compute_dtype", None) in ("float16", "bfloat16") for layer in layers)
        #: Words that the model knows, where it takes strings.
        self.words = [word for layer in layers for word in _vocabulary(layer)]

    @classmethod
    def load(cls, file: Path, scratch: Path) -> KerasModel:
        """Load `file`; the SavedModel, where one is asked for, is written to `scratch`. Raises BuildError."""
        keras = import_keras()
        # Advice on performance, for people who write the code that runs here.
        tensorflow().get_logger().setLevel("ERROR")
        try:
            model = keras.saving.load_model(str(file), safe_mode=True, compile=False)
        except Exception as error:
            raise BuildError(f"Keras could not load it: {told(error)}") from error
        return cls(model, scratch)

    def answer(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """What Keras answers. Raises what Keras raises."""
        from keras import tree

        tensors = self._tensors(inputs)
        if self._slow:
            return self._named(tree.flatten(self.model.predict_on_batch(self._packed(tensors))))
        started = time.monotonic()
        answer = self._named(self._call(tensors))
        self._slow = time.monotonic() - started > SLOW_SECONDS
        return answer

    def predict(self, inputs: Arrays) -> None:
        """What most people call; for its time alone."""
        self.model.predict(self._packed(self._tensors(inputs)), verbose=0)

    def saved_model(self) -> Path:
        """The directory of the model as a SavedModel: one function by positions, its variables and its tables."""
        if not self._saved_model.is_dir():
            from keras import export

            archive = export.ExportArchive()
            archive.track(self.model)
            archive.add_endpoint(FUNCTION, self.function)
            archive.write_out(str(self._saved_model), verbose=False)
        return self._saved_model

    def _trace(self, specs: Sequence[Any]) -> Any:
        tf = tensorflow()

        def serve(*tensors: Any) -> dict[str, Any]:
            return {output_key(number): value for number, value in enumerate(self._call(tensors))}

        function = tf.function(serve, input_signature=specs, autograph=False)
        try:
            function.get_concrete_function()
        except Exception as error:
            raise BuildError(f"TensorFlow cannot make a graph of the model: {told(error)}") from error
        return function

    def _call(self, tensors: Sequence[Any]) -> list[Any]:
        from keras import tree

        return list(tree.flatten(self.model(self._packed(tensors), training=False)))

    def _packed(self, tensors: Sequence[Any]) -> Any:
        from keras import tree

        return tree.pack_sequence_as(self._structure, list(tensors))

    def _tensors(self, inputs: Arrays) -> list[Any]:
        tf = tensorflow()
        return [
            tf.constant(inputs[spec.name], tf.string if spec.dtype == "BYTES" else None)
            for spec in self.signature.inputs
        ]

    def _named(self, values: Sequence[Any]) -> dict[str, NDArray[Any]]:
        return {spec.name: np.asarray(value) for spec, value in zip(self.signature.outputs, values, strict=True)}


def import_keras() -> Any:
    """Keras, after TensorFlow, for the number of its threads: an executor in a server has the same."""
    tensorflow()
    with without(*UNUSED):
        import keras

        return keras


def told(error: BaseException) -> str:
    """The gist of an exception: Keras's messages repeat the whole config, TensorFlow's the whole graph."""
    text = _WEIGHTS.sub("", _NODES.sub("", str(error).rpartition("Exception encountered: ")[2]))
    lines = [line.strip() for line in text.splitlines() if line.strip()][:2]
    if lines and not lines[0].endswith(":"):
        del lines[1:]
    gist = ": ".join([type(error).__name__, *lines[:1]])
    gist = " ".join([gist, *lines[1:]])
    return gist if len(gist) <= 400 else f"{gist[:397]}..."


def _inputs(model: Any) -> Any:
    """The model's inputs, nested as it takes them. A Sequential model keeps no structure: it has one input."""
    structure = getattr(model, "_inputs_struct", None)
    if structure is not None:
        return structure
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise BuildError("the model does not say what its inputs are: begin it with keras.Input")
    return inputs[0]


def _input_specs(structure: Any) -> tuple[list[TensorSpec], list[Any]]:
    """Our specs and TensorFlow's, in the order in which Keras flattens the inputs."""
    from keras import tree

    tf = tensorflow()
    leaves = tree.flatten_with_path(structure)
    names = _distinct([_key(path) or tensor.name for path, tensor in leaves])
    ours, theirs = [], []
    for number, (name, (_, tensor)) in enumerate(zip(names, leaves, strict=True)):
        if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False):
            raise BuildError(f"input {name!r} is sparse or ragged; only dense inputs can be served")
        shape = _row_shape(f"input {name!r}", tensor.shape)
        ours.append(TensorSpec(name, _dtype(f"input {name!r}", str(tensor.dtype)), shape))
        theirs.append(tf.TensorSpec([None, *shape], tensor.dtype, name=input_key(number)))
    return ours, theirs


def _output_specs(model: Any, function: Any) -> list[TensorSpec]:
    """Names as Keras has them; dtypes and shapes as TensorFlow found them, and Keras's where it left some open."""
    from keras import tree

    structure = getattr(model, "_outputs_struct", None)
    leaves = tree.flatten_with_path(model.outputs[0] if structure is None else structure)
    layers = getattr(model, "output_names", None) or [model.layers[-1].name]
    names = _distinct([_key(path) or layer for (path, _), layer in zip(leaves, layers, strict=True)])
    traced = function.get_concrete_function().structured_outputs
    specs = []
    for number, (name, (_, tensor)) in enumerate(zip(names, leaves, strict=True)):
        found = traced[output_key(number)]
        shape = tuple(tensor.shape)
        if found.shape.rank is not None:
            if found.shape.rank != len(shape):
                raise BuildError(f"output {name!r} has not the number of axes that Keras says")
            pairs = zip(shape, found.shape.as_list(), strict=True)
            shape = tuple(theirs if mine is None else mine for mine, theirs in pairs)
        row = _row_shape(f"output {name!r}", shape)
        specs.append(TensorSpec(name, _dtype(f"output {name!r}", found.dtype.name), row))
    return specs


def _row_shape(what: str, shape: Sequence[int | None]) -> tuple[int | None, ...]:
    if not len(shape):
        raise BuildError(f"{what} has no batch axis")
    if shape[0] is not None:
        raise BuildError(
            f"{what} has a fixed first axis of {shape[0]}; the first axis must be a free batch size"
            " (use shape= and not batch_shape= in keras.Input)"
        )
    return tuple(shape[1:])


def _dtype(what: str, name: str) -> str:
    try:
        return kserve_dtype(name)
    except ValueError as error:
        raise BuildError(f"{what} cannot be served: {error}") from error


def _key(path: Sequence[Any]) -> str:
    """The name of a place in nested inputs or outputs; empty where only lists lead to it, which have no names."""
    return "_".join(map(str, path)) if any(isinstance(step, str) for step in path) else ""


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, with _1, _2 ... after those that were there before: a layer with several outputs has one name."""
    made: list[str] = []
    for name in names:
        number, candidate = 0, name
        while candidate in made:
            number += 1
            candidate = f"{name}_{number}"
        made.append(candidate)
    return made


def _vocabulary(layer: Any) -> list[str]:
    get = getattr(layer, "get_vocabulary", None)
    return [str(word) for word in get()[:1000]] if get else []
