"""The results of many rows as BSON, made at once: one document is encoded, and the others are its bytes with theirs.

Most results of a chunk differ in two ids, an entity tag and the numbers of the output, and in nothing that has another
length. What is not so is encoded by the driver. A test holds the two against each other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import bson
import numpy as np
from bson import Binary, ObjectId
from bson.raw_bson import RawBSONDocument
from numpy.typing import NDArray

from ml.database.client import Document
from ml.tensors import to_stored
from ml.tensors.stored import MOST_AS_ARRAYS

#: From so many documents on it is worth while.
FEWEST = 8
ETAG_BYTES = 12

Make = Callable[[ObjectId, ObjectId, str, dict[str, Any], float | None], Document]
Bytes = NDArray[np.uint8]


class _Unlike(Exception):
    """Documents of this kind do not have one layout."""


def encode_alike(
    make: Make,
    ids: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Mapping[str, NDArray[Any]],
    scores: NDArray[Any] | None,
) -> list[RawBSONDocument] | None:
    """Documents that differ in `_id`, input, entity tag, output and score alone; None where they cannot be made so.

    `make` gives the document of a row from these: `_id`, input, tag, the output as it is stored, and the score where
    `scores` are given. `ids` and `inputs` are the 12 bytes of each; first axis of outputs and scores: the rows.
    """
    rows = len(ids)
    if rows < FEWEST or any(values.dtype.kind != "f" for values in outputs.values()):
        return None
    if scores is not None and scores.dtype.kind != "f":
        return None
    try:
        return _filled(make, rows, ids, inputs, outputs, scores)
    except _Unlike:
        return None


def _filled(
    make: Make,
    rows: int,
    ids: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Mapping[str, NDArray[Any]],
    scores: NDArray[Any] | None,
) -> list[RawBSONDocument]:
    """The encoded document of made-up values, in which each is then replaced where it is found."""
    marks = _Marks()
    id_, input_ = ObjectId(marks.bytes(12)), ObjectId(marks.bytes(12))
    tag = marks.bytes(ETAG_BYTES).hex()
    score = marks.floats(1)[0] if scores is not None else None
    made = {name: _made_up(marks, values[0]) for name, values in outputs.items()}
    template = bson.encode(make(id_, input_, tag, {name: to_stored(array) for name, array in made.items()}, score))
    matrix: Bytes = np.tile(np.frombuffer(template, np.uint8), (rows, 1))

    def fill(mark: bytes, values: Bytes) -> None:
        at = template.find(mark)
        if at < 0 or template.find(mark, at + 1) >= 0:
            raise _Unlike
        matrix[:, at : at + len(mark)] = values

    fill(id_.binary, _columns(b"".join(ids), rows))
    fill(input_.binary, _columns(b"".join(inputs), rows))
    fill(tag.encode(), _columns(os.urandom(ETAG_BYTES * rows).hex().encode(), rows))
    if scores is not None and score is not None:
        fill(np.float64(score).tobytes(), _columns(scores.astype("<f8").tobytes(), rows))
    for name, values in outputs.items():
        for mark, part in _parts(made[name], values):
            fill(mark, part)
    length = len(template)
    everything = matrix.tobytes()
    return [RawBSONDocument(everything[at : at + length]) for at in range(0, rows * length, length)]


def _made_up(marks: _Marks, row: NDArray[Any]) -> NDArray[Any]:
    """Numbers that nothing else is, in the form of a row of an output."""
    row = np.asarray(row)
    return np.array(marks.floats(row.size), np.float64).astype(row.dtype).reshape(row.shape)


def _parts(made: NDArray[Any], values: NDArray[Any]) -> Iterator[tuple[bytes, Bytes]]:
    """What stands for the numbers of an output in the encoded document, and what the rows have there."""
    rows = len(values)
    stored = to_stored(made)
    if isinstance(stored, dict):
        data: Binary = stored["data"]
        yield bytes(data), _columns(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes(), rows)
        return
    wide = values.reshape(rows, -1).astype("<f8")
    for column, number in enumerate(made.reshape(-1).tolist()):
        yield np.float64(number).tobytes(), _columns(wide[:, column].tobytes(), rows)


def _columns(data: bytes, rows: int) -> Bytes:
    return np.frombuffer(data, np.uint8).reshape(rows, -1)


class _Marks:
    """Values that are found again in an encoded document, since nothing else in it is like them."""

    def __init__(self) -> None:
        self._random = np.random.default_rng()
        # Whole numbers that the narrowest float type holds exactly, below all that a document has beside its output.
        self._numbers = iter((-1024.0 - self._random.permutation(1024)).tolist())

    def bytes(self, count: int) -> bytes:
        return self._random.bytes(count)

    def floats(self, count: int) -> list[float]:
        if count > MOST_AS_ARRAYS:  # it is their bytes together that are looked for
            return [float(number) for number in self._random.random(count)]
        numbers = list(islice(self._numbers, count))
        if len(numbers) < count:
            raise _Unlike
        return numbers
