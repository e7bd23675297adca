"""The proof that an executor answers as Keras does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.build.report import BuildError
from ml.build.rows import Batch, Inputs, RowMaker, read_sample
from ml.build.sway import sway
from ml.executors.base import Executor
from ml.signature import Signature, TensorSpec

Outputs = dict[str, NDArray[Any]]

#: (absolute, relative to the row's largest value, relative to the output's largest value in any row): an answer may
#: differ from Keras's by the sum of the first two, and never by more than the third, without which any answer would do
#: for a network whose answers are tiny. Where Keras's own answer moves further with the input's last digit, others may
#: be as far off as that, and not more than the third either. Half precision carries three digits. All that is no
#: floating point number is compared exactly.
TOLERANCE: Mapping[str, tuple[float, float, float]] = {
    "FP16": (2e-3, 1e-2, 5e-2),
    "FP32": (1e-5, 1e-4, 1e-3),
    "FP64": (1e-5, 1e-4, 1e-3),
}


def allowed(dtype: str, want: NDArray[Any], largest: float, sways: NDArray[Any] | float = 0.0) -> NDArray[Any]:
    """How far answers may be from `want` (rows, values), by row; `largest` is the output's largest in any row.

    `sways` is how far Keras's own answer to the row moves, (rows, 1), where that is known.
    """
    absolute, relative, of_largest = TOLERANCE[dtype]
    rows: NDArray[Any] = np.abs(want).max(axis=1, keepdims=True)
    return np.minimum(np.maximum(absolute + relative * rows, sways), of_largest * largest)


@dataclass(frozen=True, eq=False)
class Case:
    """A batch and Keras's answer."""

    batch: Batch
    outputs: Outputs
    #: Which rows are compared: those where every number that Keras gives is finite.
    rows: NDArray[np.bool_]


@dataclass
class Comparison:
    """How one executor fared: `reason` is None where it agrees on every row."""

    reason: str | None = None
    worst: float = 0.0
    rows: int = 0


class Proof:
    """Keras's answers, worked out once, and the comparison of any number of executors with them.

    `answer` is Keras; `half` whether any of its layers computes in half precision.
    """

    def __init__(
        self, signature: Signature, answer: Callable[[Inputs], Outputs], *, half: bool, words: list[str]
    ) -> None:
        self.signature = signature
        self._answer = answer
        self._half = half
        self._refusal: Exception | None = None
        self._maker = RowMaker(signature, lambda inputs: self._try(inputs) is not None, words)
        self.cases: list[Case] = []
        self._largest_values: dict[str, float] = {}
        self._sway: dict[Case, Mapping[str, NDArray[Any]]] = {}

    def collect(self, sample: Path | None) -> None:
        """Work out the cases. Raises BuildError where there is nothing to compare, or no answer to rely on."""
        if sample is not None:
            self._collect_sample(read_sample(sample, self.signature))
        for batch in self._maker.batches():
            outputs = self._try(batch.inputs)
            if outputs is not None:
                self._add(batch, outputs)
        if not self.cases:
            raise BuildError(f"Keras refuses every row that was tried: {self._refusal}"[:500])
        if not any(case.rows.any() for case in self.cases):
            raise BuildError("Keras gives no finite answer to any row that was tried")
        self._check_rows_apart(max(self.cases, key=lambda case: len(case.rows)))

    def compare(self, executor: Executor) -> Comparison:
        """Run every case; stops at the first that differs."""
        result = Comparison()
        for case in self.cases:
            try:
                outputs = executor.run(case.batch.inputs)
            except Exception as error:  # noqa: BLE001 (whatever it raises, Keras did not)
                result.reason = f"fails on {case.batch.origin}: {type(error).__name__}: {error}"[:500]
                return result
            for spec in self.signature.outputs:
                want, got = case.outputs[spec.name], outputs[spec.name]
                result.reason = self._difference(spec, want, got, case.rows, result)
                if result.reason and spec.name in (sways := self._sways(case)):
                    result.reason = self._difference(spec, want, got, case.rows, result, sways[spec.name])
                if result.reason:
                    result.reason += f", on {case.batch.origin}"
                    return result
            result.rows += int(case.rows.sum())
        return result

    def largest_batch(self) -> Inputs:
        """The largest batch that Keras accepts."""
        return max(self.cases, key=lambda case: sum(values.size for values in case.batch.inputs.values())).batch.inputs

    def _largest(self, spec: TensorSpec) -> float:
        """The largest absolute value that an output has in any row that is compared."""
        if spec.name not in self._largest_values:
            values = [np.abs(case.outputs[spec.name][case.rows].astype("f8")) for case in self.cases]
            self._largest_values[spec.name] = max((float(each.max()) for each in values if each.size), default=0.0)
        return self._largest_values[spec.name]

    def _sways(self, case: Case) -> Mapping[str, NDArray[Any]]:
        """How far Keras's own answers to a case move; looked at where an executor differs, since it takes a while."""
        if case not in self._sway:
            self._sway[case] = sway(self._try, case.batch.inputs, case.outputs)
        return self._sway[case]

    def _difference(
        self,
        spec: TensorSpec,
        want: NDArray[Any],
        got: NDArray[Any],
        rows: NDArray[np.bool_],
        result: Comparison,
        sways: NDArray[Any] | None = None,
    ) -> str | None:
        if got.dtype != spec.numpy_dtype or got.shape != want.shape:
            forms = f"{got.dtype}{list(got.shape)}, Keras as {want.dtype}{list(want.shape)}"
            return f"gives output {spec.name!r} as {forms}"
        want, got = want[rows], got[rows]
        if not want.size:
            return None
        if want.dtype.kind != "f":
            if np.array_equal(want, got):
                return None
            return f"gives other values for output {spec.name!r} than Keras"
        want, got = want.astype("f8").reshape(len(want), -1), got.astype("f8").reshape(len(got), -1)
        apart = np.abs(want - got)
        dtype = "FP16" if self._half else spec.dtype
        most = allowed(dtype, want, self._largest(spec), 0.0 if sways is None else sways[rows])
        result.worst = max(result.worst, float(apart.max(where=np.isfinite(apart), initial=0)))
        # Written so that a NaN counts as a difference.
        if not (apart <= most).all():
            return f"differs from Keras by {apart.max():.3g} in output {spec.name!r} ({most.min():.3g} is allowed)"
        if want.shape[1] > 1:
            second, first = np.partition(want, -2, axis=1)[:, -2:].T
            clear = first - second > most[:, 0]
            if (want.argmax(axis=1) != got.argmax(axis=1))[clear].any():
                return f"has its largest value in another place of output {spec.name!r} than Keras"
        return None

    def _try(self, inputs: Inputs) -> Outputs | None:
        try:
            return self._answer(inputs)
        except Exception as error:  # noqa: BLE001 (a layer may refuse a value in any way)
            self._refusal = error
            return None

    def _collect_sample(self, batch: Batch) -> None:
        outputs = self._try(batch.inputs)
        if outputs is None:
            raise BuildError(f"Keras refuses the sample rows: {self._refusal}"[:500])
        self._add(batch, outputs)

    def _add(self, batch: Batch, outputs: Outputs) -> None:
        count = len(next(iter(batch.inputs.values())))
        finite = np.ones(count, bool)
        for name, values in outputs.items():
            if values.ndim == 0 or len(values) != count:
                raise BuildError(f"output {name!r} has {values.shape[:1]} rows for {count} rows of input")
            if values.dtype.kind == "f":
                finite &= np.isfinite(values).reshape(count, -1).all(axis=1)
        self.cases.append(Case(batch, outputs, finite))

    def _check_rows_apart(self, case: Case) -> None:
        """Requests of several people go through the model in one batch, so no row may see another."""
        again = self._answer(case.batch.inputs)
        alone = [
            self._answer({name: values[n : n + 1] for name, values in case.batch.inputs.items()})
            for n in range(min(len(case.rows), 4))
        ]
        for spec in self.signature.outputs:
            ignored = Comparison()
            want = case.outputs[spec.name]
            if self._difference(spec, want, again[spec.name], case.rows, ignored):
                raise BuildError(f"Keras itself gives two answers to the same rows (output {spec.name!r})")
            together = np.concatenate([answer[spec.name] for answer in alone])
            first = slice(0, len(together))
            if self._difference(spec, want[first], together, case.rows[first], ignored):
                raise BuildError(f"the answer for a row depends on the other rows of its batch (output {spec.name!r})")
