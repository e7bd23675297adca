"""The rows on which an artefact is compared with Keras: random and edge ones that Keras accepts, and the uploader's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.build.report import BuildError
from ml.executors.base import WARM_SIZES
from ml.signature import Signature, TensorSpec

Inputs = dict[str, NDArray[Any]]
#: Sizes that are tried for free dimensions, up to as many as Keras accepts of them: some networks need a large one.
FREE_SIZES, FREE_SIZES_USED = WARM_SIZES, 3
#: The size of an input's first free dimension, and by how much each further one is larger; None where all are fixed.
Size = tuple[int, int] | None
#: Rows of a random batch, few where a row is large: answered eagerly, 16 pictures take ResNet50 3 GB.
BATCHES, LARGE_ROW, BATCHES_OF_LARGE = (1, 3, 16), 20_000, (1, 3)
#: How far from zero numbers are tried, where Keras accepts them that far.
LARGEST_INTEGER, LARGEST_FLOAT, LARGEST_HALF = 2**20, 1000.0, 100.0
MOST_SAMPLE_ROWS = 256
# Also what a tokenizer may stumble over: nothing, blanks, more than ASCII, a very long word.
_WORDS = ("", " ", "a", "hello", "Hello, World!", "0", "-17", "3.5", "été", "日本語", "x" * 300)


@dataclass(frozen=True)
class Batch:
    """Rows for every input, and where they are from."""

    origin: str
    inputs: Inputs


@dataclass(frozen=True)
class _Span:
    """From and to which number an input is filled; both 0 for strings."""

    low: float
    high: float


class RowMaker:
    """Makes rows for a signature. `accepts` says whether Keras answers them."""

    def __init__(
        self, signature: Signature, accepts: Callable[[Inputs], bool], words: Sequence[str], seed: int = 20_240_229
    ) -> None:
        self._specs = signature.inputs
        self._accepts = accepts
        # The words of the model more often than those it cannot know.
        self._words = [word.encode() for word in (*_WORDS, *words)]
        self._random = np.random.default_rng(seed)

    def batches(self) -> Iterator[Batch]:
        """Random and edge rows, at every size of the free dimensions that is used; Keras may refuse some still."""
        for size in self._sizes():
            spans = {spec.name: self._span(spec, size) for spec in self._specs}
            where = "" if size is None else f", free dimensions of {size[0]}"
            row = max(int(np.prod(_shape(spec, size), dtype=np.int64)) for spec in self._specs)
            for count in BATCHES if row < LARGE_ROW else BATCHES_OF_LARGE:
                yield Batch(f"random rows{where}", self._random_rows(count, size, spans))
            for name in ("zeros", "ones", "low", "high"):
                yield Batch(f"edge rows ({name}){where}", self._edge_rows(name, size, spans))

    def _sizes(self) -> list[Size]:
        most = max(spec.shape.count(None) for spec in self._specs)
        if not most:
            return [None]
        # Unequal ones show axes that are taken for one another, but not every model can take them.
        fitting: dict[int, Size] = {}
        for base, step in itertools.product(FREE_SIZES, (1, 0) if most > 1 else (0,)):
            if (
                len(fitting) < FREE_SIZES_USED
                and base not in fitting
                and self._accepts(self._constant(0, (base, step)))
            ):
                fitting[base] = (base, step)
        return list(fitting.values())

    def _span(self, spec: TensorSpec, size: Size) -> _Span:
        """How far from zero Keras accepts numbers: an embedding has so many rows and no more."""
        kind = spec.numpy_dtype.kind
        if kind in "Ob":
            return _Span(0, int(kind == "b"))
        if kind == "f":
            most = LARGEST_HALF if spec.dtype == "FP16" else LARGEST_FLOAT
        else:
            most = min(int(np.iinfo(spec.numpy_dtype).max), LARGEST_INTEGER)

        def accepted(value: float) -> bool:
            return self._accepts(self._constant(0, size) | {spec.name: _filled(spec, size, value)})

        if not accepted(most):
            good, bad = 0, int(most)
            step = 1
            while good + step < bad and accepted(good + step):
                good, step = good + step, step * 2
            bad = min(bad, good + step)
            while bad - good > 1:
                middle = (good + bad) // 2
                good, bad = (middle, bad) if accepted(middle) else (good, middle)
            most = good
        low = -most if kind != "u" and accepted(-most) else 0
        return _Span(low, most)

    def _constant(self, value: float, size: Size) -> Inputs:
        return {spec.name: _filled(spec, size, value) for spec in self._specs}

    def _edge_rows(self, name: str, size: Size, spans: dict[str, _Span]) -> Inputs:
        rows = {}
        for spec in self._specs:
            span = spans[spec.name]
            value = {"zeros": 0, "ones": min(1, span.high), "low": span.low, "high": span.high}[name]
            rows[spec.name] = _filled(spec, size, value)
        return rows

    def _random_rows(self, count: int, size: Size, spans: dict[str, _Span]) -> Inputs:
        return {
            spec.name: np.stack([self._random_row(number, spec, size, spans[spec.name]) for number in range(count)])
            for spec in self._specs
        }

    def _random_row(self, number: int, spec: TensorSpec, size: Size, span: _Span) -> NDArray[Any]:
        shape = _shape(spec, size)
        if spec.dtype == "BYTES":
            return self._phrases(shape, most=1 if number % 2 else 6)
        if spec.numpy_dtype.kind != "f":
            # Every other row of small ones: among a million, none would be small.
            low, high = (
                (int(span.low), int(span.high)) if number % 2 else (max(int(span.low), -9), min(int(span.high), 9))
            )
            return self._random.integers(low, high, shape, endpoint=True).astype(spec.numpy_dtype)
        if span.low == 0:
            # Numbers that are taken as indices, then: whole ones.
            return self._random.integers(0, int(span.high), shape, endpoint=True).astype(spec.numpy_dtype)
        # Small and large, and what grey values look like before and after scaling.
        row = (
            self._random.standard_normal(shape),
            self._random.random(shape),
            self._random.random(shape) * 255,
            self._random.standard_normal(shape) * 10,
        )[number % 4]
        return np.clip(row, span.low, span.high).astype(spec.numpy_dtype)

    def _phrases(self, shape: tuple[int, ...], most: int) -> NDArray[Any]:
        phrases = np.empty(shape, object)
        for index in np.ndindex(shape):
            chosen = self._random.integers(0, len(self._words), self._random.integers(1, most, endpoint=True))
            phrases[index] = b" ".join(self._words[number] for number in chosen)
        return phrases


def read_sample(path: Path, signature: Signature) -> Batch:
    """The uploader's rows, at most 256 of them, evenly spread. Raises BuildError where they do not fit the model."""
    if len(signature.inputs) != 1:
        raise BuildError(f"sample rows are for models with one input; this one has {len(signature.inputs)}")
    (spec,) = signature.inputs
    try:
        # Mapped, so that a header that claims terabytes allocates nothing.
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BuildError(f"the sample is not a .npy file that can be read: {error}") from error
    if not isinstance(rows, np.ndarray) or rows.ndim == 0 or not len(rows) or not spec.fits(rows.shape[1:]):
        got = getattr(rows, "shape", "several arrays")
        raise BuildError(f"the sample has the shape {got}; the model takes rows of {spec}")
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_SAMPLE_ROWS).astype(int))]
    if spec.dtype == "BYTES":
        if rows.dtype.kind not in "SU":
            raise BuildError(f"the sample holds {rows.dtype}; the model takes strings")
        encoded = np.char.encode(rows, "utf-8") if rows.dtype.kind == "U" else rows
        return Batch("sample rows", {spec.name: encoded.astype(object)})
    if not np.can_cast(rows.dtype, spec.numpy_dtype, "same_kind"):
        raise BuildError(f"the sample holds {rows.dtype}; the model takes {spec.dtype}")
    return Batch("sample rows", {spec.name: rows.astype(spec.numpy_dtype)})


def _shape(spec: TensorSpec, size: Size) -> tuple[int, ...]:
    base, step = size or (1, 0)
    free = itertools.count(base, step)
    return tuple(next(free) if n is None else n for n in spec.shape)


def _filled(spec: TensorSpec, size: Size, value: float) -> NDArray[Any]:
    shape = (2, *_shape(spec, size))
    return np.full(shape, b"", object) if spec.dtype == "BYTES" else np.full(shape, value, spec.numpy_dtype)
