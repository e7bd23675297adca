"""What a model takes and gives: the name, dtype and row shape of every input and output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

#: KServe's names (Open Inference Protocol, "Tensor Data Types") and numpy's for the same element type.
NUMPY_OF: Mapping[str, str] = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
KSERVE_OF: Mapping[str, str] = {
    **{numpy_name: kserve_name for kserve_name, numpy_name in NUMPY_OF.items()},
    "string": "BYTES",
    "bytes": "BYTES",
    "str": "BYTES",
}


def kserve_dtype(name: str) -> str:
    """The KServe name for `name`, which may be KServe's, numpy's or Keras's.

    Raises ValueError where there is none (bfloat16, complex numbers, dates).
    """
    if name in NUMPY_OF:
        return name
    try:
        return KSERVE_OF[name]
    except KeyError:
        raise ValueError(f"dtype {name!r} is not one of {', '.join(NUMPY_OF)}") from None


@cache
def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype, little-endian, for a KServe or numpy name; `object` (of bytes) for BYTES."""
    return np.dtype(NUMPY_OF[kserve_dtype(name)]).newbyteorder("<")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. `shape` is that of one row, without the batch axis; None is a free dimension."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        return numpy_dtype(self.dtype)

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a row of this shape may be given."""
        return len(shape) == len(self.shape) and all(
            want is None or want == got for want, got in zip(self.shape, shape, strict=True)
        )

    def to_document(self) -> dict[str, Any]:
        """The form in a model's document: a free dimension is -1, as KServe writes it."""
        return {"name": self.name, "dtype": self.dtype, "shape": [-1 if n is None else n for n in self.shape]}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> TensorSpec:
        return cls(
            name=document["name"],
            dtype=kserve_dtype(document["dtype"]),
            shape=tuple(None if n is None or n < 0 else int(n) for n in document["shape"]),
        )

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join('?' if n is None else str(n) for n in self.shape)}]"


@dataclass(frozen=True, slots=True)
class Signature:
    """A model's inputs and outputs, in the model's own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def to_document(self) -> dict[str, Any]:
        return {
            "inputs": [spec.to_document() for spec in self.inputs],
            "outputs": [spec.to_document() for spec in self.outputs],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Signature:
        return cls(
            inputs=tuple(TensorSpec.from_document(spec) for spec in document["inputs"]),
            outputs=tuple(TensorSpec.from_document(spec) for spec in document["outputs"]),
        )
