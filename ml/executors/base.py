"""The one interface behind which every way of running a model stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.signature import Signature, TensorSpec

Arrays = Mapping[str, NDArray[Any]]

#: Lengths of free dimensions that a first run is tried with.
WARM_SIZES = (1, 7, 32, 128, 224)


class Source(Protocol):
    """What an artefact is made of, in the build's child process: a model that Keras has loaded."""

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""

    @property
    def function(self) -> Any:
        """A tf.function of it: inputs by position, in the signature's order; outputs by `output_key`."""

    def saved_model(self) -> Path:
        """The function as a SavedModel, written at the first call; it belongs to the source."""


class Executor(ABC):
    """A loaded model. One thread at a time calls `run`; nothing else is asked of an implementation."""

    #: How the executor is named in documents and settings: as its file.
    name: ClassVar[str]
    #: What must be installed where it runs: the packages' names.
    needs: ClassVar[tuple[str, ...]] = ()
    #: Whether a build makes artefacts for it, by `export`.
    built: ClassVar[bool] = True
    #: What it cannot do, as far as that is known before it is tried.
    cannot: ClassVar[str] = ""

    @classmethod
    @abstractmethod
    def load(cls, artefact: Path, signature: Signature, threads: int = 1) -> Executor:
        """Load what `export` left in the directory `artefact`, to run in so many threads.

        Raises ExecutorError where that cannot be run here.
        """

    @classmethod
    def export(cls, source: Source, directory: Path) -> None:
        """Write an artefact into `directory`, which is not there yet. In the build's child process alone."""
        raise NotImplementedError

    @classmethod
    def thread_counts(cls, cores: int) -> tuple[int, ...]:
        """The numbers of threads that are worth trying on so many cores, from the least on."""
        return tuple(sorted({1, *(count for count in (2, 4, 8) if count < cores), min(cores, 16)}))

    @abstractmethod
    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """All outputs for a batch.

        `inputs` holds every input of the signature by name, in the signature's dtype, shape (rows, *row shape);
        BYTES inputs are object arrays of `bytes`. The answer holds every output by name, first axis rows, in the
        signature's dtype. Any exception means that the batch failed.
        """

    def warm(self) -> None:
        """Run once on zeros, so that the first request does not pay for what is made at the first call.

        Free dimensions are tried at several sizes: a convolution over one refuses what is smaller than its kernel.
        """
        for size in WARM_SIZES:
            try:
                self.run({spec.name: _zeros(spec, size) for spec in self.signature.inputs})
            except Exception:
                if size == WARM_SIZES[-1] or all(None not in spec.shape for spec in self.signature.inputs):
                    raise
            else:
                return

    @abstractmethod
    def close(self) -> None:
        """Give memory back. Never called while `run` is."""

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """What the model takes and gives."""


class ExecutorError(Exception):
    """This executor cannot load this artefact here; the message says why."""


def input_key(number: int) -> str:
    """What an artefact calls its input `number`.

    Inputs and outputs go by number, in the signature's order: TensorFlow rewrites or refuses names that are no Python
    identifiers.
    """
    return f"input_{number}"


def output_key(number: int) -> str:
    """What an artefact calls its output `number`."""
    return f"output_{number}"


def check_names(inputs: set[str], outputs: set[str], signature: Signature) -> None:
    """Raise ExecutorError where an artefact's names are not those of the signature."""
    if inputs != {input_key(number) for number in range(len(signature.inputs))} or outputs != {
        output_key(number) for number in range(len(signature.outputs))
    }:
        raise ExecutorError("the artefact's inputs and outputs are not those of the signature")


def checked(what: str, spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    """The array, where its dtype is the one that was promised: nothing is cast silently. Raises TypeError."""
    if array.dtype != spec.numpy_dtype:
        raise TypeError(f"{what} {spec.name!r} is {array.dtype}, not {spec.numpy_dtype}")
    return array


def _zeros(spec: TensorSpec, size: int) -> NDArray[Any]:
    shape = (1, *(size if n is None else n for n in spec.shape))
    return np.full(shape, b"", object) if spec.dtype == "BYTES" else np.zeros(shape, spec.numpy_dtype)
