"""Tensors as .npy files (numpy's own format, versions 1 and 2), read without ever unpickling."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.lib import format as npy

from ml.signature import NUMPY_OF, TensorSpec
from ml.tensors.containers import kind_of
from ml.tensors.issues import TensorIssues
from ml.tensors.stored import MOST_AXES
from ml.tensors.values import Array, ValueIssue, cast_array

#: How every .npy file begins.
NPY_MAGIC = npy.MAGIC_PREFIX

#: Each string is an object, many times as large as it is in the file.
MOST_STRINGS = 1_000_000
#: numpy repeats the header in its messages.
LONGEST_REASON = 300

NUMBERS = frozenset(NUMPY_OF.values()) - {"object"}


def from_npy(data: bytes, place: str = "file") -> Array:
    """The array in a .npy file; strings become BYTES. Raises TensorIssues."""
    if not data.startswith(NPY_MAGIC):
        raise TensorIssues({place: f"not a .npy file that can be read: it is {kind_of(data)}"})
    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"version {version} of the format is not read here")
        shape, fortran, dtype = read(stream)
        if dtype.name not in NUMBERS and (dtype.kind not in "SU" or dtype.itemsize == 0):
            raise ValueError(f"dtype {dtype} is not read here")
        if len(shape) > MOST_AXES:
            raise ValueError(f"expected at most {MOST_AXES} axes, got {len(shape)}")
        # The header is believed only as far as the bytes that came with it.
        if math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
            raise ValueError(f"{len(data) - stream.tell()} bytes of data do not make {dtype}{list(shape)}")
        # A view of the bytes that came, not a copy of them.
        array = np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")
        if dtype.kind in "SU":
            if array.size > MOST_STRINGS:
                raise ValueError(f"expected at most {MOST_STRINGS} strings, got {array.size}")
            array = _bytes_of(array)
    except Exception as error:  # noqa: BLE001  numpy parses the header with several classes of error
        reason = str(error)
        reason = reason if len(reason) <= LONGEST_REASON else reason[:LONGEST_REASON] + "..."
        raise TensorIssues({place: f"not a .npy file that can be read: {reason}"}) from None
    if array.size == 0:
        raise TensorIssues({place: f"expected one value or more, got shape {list(array.shape)}"})
    if array.dtype == object:
        return array
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)


def batch_from_npy(data: bytes, spec: TensorSpec, place: str = "body") -> Array:
    """A batch of rows for an input from a .npy file, first axis the rows, in the input's dtype. Raises TensorIssues."""
    array = from_npy(data, place)
    if array.ndim == 0 or not spec.fits(array.shape[1:]):
        wanted = ["rows", *("?" if n is None else n for n in spec.shape)]
        raise TensorIssues(
            {place: f"{spec.name} expected shape [{', '.join(map(str, wanted))}], got {list(array.shape)}"}
        )
    try:
        return cast_array(array, spec.dtype)
    except ValueIssue as error:
        at = "" if error.index is None else f"row {error.index // math.prod(array.shape[1:])}: "
        raise TensorIssues({place: f"{spec.name} expected {spec}: {at}{error}"}) from None


def _bytes_of(array: Array) -> Array:
    """Fixed-width strings as BYTES. Raises ValueError for code points that are none."""
    strings = np.empty(array.size, object)
    strings[:] = [item.encode() if isinstance(item, str) else bytes(item) for item in array.reshape(-1).tolist()]
    return strings.reshape(array.shape)


def to_npy(array: Array) -> bytes:
    """The array as a .npy file; BYTES as fixed-width strings, since an object array would have to be pickled."""
    stream = io.BytesIO()
    npy.write_array(stream, array.astype("S") if array.dtype == object else array, allow_pickle=False)
    return stream.getvalue()
