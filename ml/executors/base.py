"""The one interface behind which every way of running a model stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ml.signature import Signature, TensorSpec

Arrays = Mapping[str, NDArray[Any]]

#: Lengths of free dimensions that a first run is tried with.
WARM_SIZES = (1, 7, 32, 128, 224)


class Executor(ABC):
    """A loaded model. One thread at a time calls `run`; nothing else is asked of an implementation."""

    #: How the executor is named in documents and settings.
    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def load(cls, artefact: Path, signature: Signature) -> Executor:
        """Load what the build left in the directory `artefact`. Raises ExecutorError where that cannot be run here."""

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


def _zeros(spec: TensorSpec, size: int) -> NDArray[Any]:
    shape = (1, *(size if n is None else n for n in spec.shape))
    return np.full(shape, b"", object) if spec.dtype == "BYTES" else np.zeros(shape, spec.numpy_dtype)
