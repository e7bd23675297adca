"""A SavedModel run by TensorFlow, without Keras."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.executors.base import Arrays, Executor, ExecutorError, Source, check_names, checked, input_key, output_key
from ml.signature import Signature

#: The one function of an artefact.
FUNCTION = "serve"

#: What TensorFlow and Keras import where it is there, and do without as well: 1.4 s of the 3.8 that both take.
UNUSED = ("jax", "sklearn")

_importing = threading.Lock()


class TfExecutor(Executor):
    """Runs a SavedModel: one function by positions, its variables and its tables. It can do whatever Keras can."""

    name = "tf"
    needs: ClassVar[tuple[str, ...]] = ("tensorflow",)

    def __init__(self, loaded: Any, signature: Signature) -> None:
        # The variables belong to the loaded object; the function alone does not keep them.
        self._loaded = loaded
        self._function = loaded.signatures[FUNCTION]
        self._signature = signature
        self._tensorflow = tensorflow()

    @classmethod
    def load(cls, artefact: Path, signature: Signature, threads: int = 1) -> TfExecutor:
        tf = tensorflow()
        try:
            loaded = tf.saved_model.load(str(artefact))
            function = loaded.signatures[FUNCTION]
        except Exception as error:
            raise ExecutorError(f"TensorFlow cannot load the artefact: {error}") from error
        check_names(set(function.structured_input_signature[1]), set(function.structured_outputs), signature)
        return cls(loaded, signature)

    @classmethod
    def export(cls, source: Source, directory: Path) -> None:
        shutil.copytree(source.saved_model(), directory)

    @classmethod
    def thread_counts(cls, cores: int) -> tuple[int, ...]:
        """All: TensorFlow has one set of threads for all models of a process."""
        return (cores,)

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        tf = self._tensorflow
        feed = {}
        for number, spec in enumerate(self._signature.inputs):
            array = checked("input", spec, inputs[spec.name])
            # An array without elements has no strings by which TensorFlow could see that it is one of strings.
            feed[input_key(number)] = tf.constant(array, tf.string if spec.dtype == "BYTES" else None)
        answer = self._function(**feed)
        outputs = {}
        for number, spec in enumerate(self._signature.outputs):
            outputs[spec.name] = checked("output", spec, np.asarray(answer[output_key(number)].numpy()))
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
            with without("keras", *UNUSED), _without_words():
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
def without(*names: str) -> Iterator[None]:
    """Hide packages that are not imported yet from an import of TensorFlow or Keras, which do as well without.

    TensorFlow imports Keras for its registrations, see the end of tensorflow/__init__.py. That is 1 s of 3 and 80 MB
    of 610. An import of one of them on another thread at that moment would fail; nothing that loads executors imports
    them at all.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


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
