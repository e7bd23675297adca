"""A SavedModel run by TensorFlow, without Keras."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.executors.base import Arrays, Executor, ExecutorError
from ml.signature import Signature

#: The one function of an artefact. Its arguments and results go by number, in the signature's order: TensorFlow
#: rewrites or refuses names that are no Python identifiers.
FUNCTION = "serve"

_importing = threading.Lock()


def input_key(number: int) -> str:
    """What the artefact calls its input `number`."""
    return f"input_{number}"


def output_key(number: int) -> str:
    """What the artefact calls its output `number`."""
    return f"output_{number}"


class TfExecutor(Executor):
    """Runs the SavedModel that ml/build/export.py writes."""

    name = "tf"

    def __init__(self, loaded: Any, signature: Signature) -> None:
        # The variables belong to the loaded object; the function alone does not keep them.
        self._loaded = loaded
        self._function = loaded.signatures[FUNCTION]
        self._signature = signature
        self._tensorflow = tensorflow()

    @classmethod
    def load(cls, artefact: Path, signature: Signature) -> TfExecutor:
        tf = tensorflow()
        try:
            loaded = tf.saved_model.load(str(artefact))
            function = loaded.signatures[FUNCTION]
        except Exception as error:
            raise ExecutorError(f"TensorFlow cannot load the artefact: {error}") from error
        arguments = function.structured_input_signature[1]
        wanted = {input_key(number): spec.dtype for number, spec in enumerate(signature.inputs)}
        if set(arguments) != set(wanted) or len(function.structured_outputs) != len(signature.outputs):
            raise ExecutorError("the artefact's inputs and outputs are not those of the signature")
        return cls(loaded, signature)

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        tf = self._tensorflow
        feed = {}
        for number, spec in enumerate(self._signature.inputs):
            array = inputs[spec.name]
            if array.dtype != spec.numpy_dtype:
                raise TypeError(f"input {spec.name!r} is {array.dtype}, not {spec.numpy_dtype}")
            # An array without elements has no strings by which TensorFlow could see that it is one of strings.
            feed[input_key(number)] = tf.constant(array, tf.string if spec.dtype == "BYTES" else None)
        answer = self._function(**feed)
        outputs = {}
        for number, spec in enumerate(self._signature.outputs):
            values = np.asarray(answer[output_key(number)].numpy())
            if values.dtype != spec.numpy_dtype:
                raise TypeError(f"output {spec.name!r} came as {values.dtype}, not {spec.numpy_dtype}")
            outputs[spec.name] = values
        return outputs

    def close(self) -> None:
        self._function = self._loaded = None
        # The graph and its functions refer to each other.
        gc.collect()

    @property
    def signature(self) -> Signature:
        return self._signature


def tensorflow() -> Any:
    """TensorFlow, imported at the first call, without Keras where that was not there before.

    Raises ExecutorError where it is not installed.
    """
    with _importing:
        if "tensorflow" in sys.modules:
            return sys.modules["tensorflow"]
        # Before the import: what TensorFlow says at its start is for its own developers.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            with _without_keras(), _without_words():
                tf = importlib.import_module("tensorflow")
        except ImportError as error:
            raise ExecutorError(f"TensorFlow cannot be imported: {error}") from error
        # Too late where something else has used it already.
        with contextlib.suppress(RuntimeError):
            # One batch at a time and few branches: threads are better spent inside an operation than between them.
            tf.config.threading.set_intra_op_parallelism_threads(len(os.sched_getaffinity(0)))
            tf.config.threading.set_inter_op_parallelism_threads(1)
        return tf


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
    """Hide Keras from an `import tensorflow`, which imports it for its registrations and does as well without.

    See the end of tensorflow/__init__.py. It is 1 s of 3 and 80 MB of 610. An import of Keras on another thread at
    that moment would fail; nothing that loads executors imports it at all.
    """
    if "keras" in sys.modules:
        yield
        return
    sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["keras"]


@contextlib.contextmanager
def _without_words() -> Iterator[None]:
    """Silence what TensorFlow's libraries write to descriptor 2 while they are loaded, before any setting is read.

    Almanac's own log has a descriptor of its own and goes on.
    """
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
