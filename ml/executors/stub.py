"""An executor without a model: sums each row. It ships, so that tests and load runs need no TensorFlow."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.executors.base import Arrays, Executor, ExecutorError
from ml.signature import Signature


class StubExecutor(Executor):
    """Each output is the sum of all of a row's numbers (a string counts its bytes) plus 0, 1, 2 ... along the output.

    A BYTES output has them as text.

    The artefact is a directory with `stub.json`. Its options: `{"fail_on": 13.0}` makes every batch fail that holds
    a row with that sum, as a model does that refuses a value; `{"add": 100.0}` is added to each sum, to tell versions
    apart; `{"seconds_per_row": 0.001}` makes it as slow as a model; with `{"tally": true}` each call writes a line to
    the file `tally` beside `stub.json` as it begins: its process and the sums of its rows, whatever becomes of them.
    """

    name = "stub"
    built = False

    def __init__(
        self,
        signature: Signature,
        fail_on: float | None = None,
        add: float = 0.0,
        seconds_per_row: float = 0.0,
        tally: Path | None = None,
    ) -> None:
        self._signature = signature
        self._fail_on = fail_on
        self._add = add
        self._seconds_per_row = seconds_per_row
        self._tally = tally

    @classmethod
    def load(cls, artefact: Path, signature: Signature, threads: int = 1) -> StubExecutor:
        try:
            options = json.loads((artefact / "stub.json").read_text())
        except (OSError, ValueError) as error:
            raise ExecutorError(f"stub.json cannot be read: {error}") from error
        return cls(
            signature,
            fail_on=options.get("fail_on"),
            add=options.get("add", 0.0),
            seconds_per_row=options.get("seconds_per_row", 0.0),
            tally=artefact / "tally" if options.get("tally") else None,
        )

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        sums = sum(_row_sums(inputs[spec.name]) for spec in self._signature.inputs)
        assert isinstance(sums, np.ndarray)
        if self._tally is not None:
            _write_line(self._tally, f"{os.getpid()} {' '.join(f'{value:.17g}' for value in sums)}\n")
        if self._seconds_per_row:
            time.sleep(self._seconds_per_row * len(sums))
        if self._fail_on is not None and np.any(sums == self._fail_on):
            raise ValueError(f"the stub was told to fail on a row with the sum {self._fail_on}")
        outputs = {}
        for spec in self._signature.outputs:
            shape = tuple(1 if n is None else n for n in spec.shape)
            steps = np.arange(math.prod(shape), dtype="f8").reshape(shape)
            values = sums.reshape(-1, *(1,) * len(shape)) + steps + self._add
            with np.errstate(over="ignore", invalid="ignore"):  # too large is infinite, as with any model
                outputs[spec.name] = values.astype(spec.numpy_dtype) if spec.dtype != "BYTES" else _as_text(values)
        return outputs

    def close(self) -> None:
        """Nothing is held."""

    @property
    def signature(self) -> Signature:
        return self._signature


def _row_sums(values: NDArray[Any]) -> NDArray[np.float64]:
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    if values.dtype == object:
        return np.array([sum(len(item) for item in row) for row in flat], "f8")
    return np.asarray(flat.astype("f8").sum(axis=1))


def _as_text(values: NDArray[Any]) -> NDArray[Any]:
    text: NDArray[Any] = np.empty(values.shape, object)
    text[...] = np.vectorize(lambda value: f"{value:g}".encode(), otypes=[object])(values)
    return text


def _write_line(path: Path, line: str) -> None:
    """Append to a file to which other processes append too: in one write, which is whole or not there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
