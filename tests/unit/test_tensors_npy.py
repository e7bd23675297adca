"""Tensors as .npy files: what numpy wrote is read, what is no plain array is refused before it costs anything."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from ml.signature import NUMPY_OF
from ml.tensors import TensorIssues, from_npy, to_npy


def saved(array: Any, version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    npy.write_array(stream, np.asarray(array), version=version, allow_pickle=True)
    return stream.getvalue()


def header(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin-1") + data


def issue_of(data: bytes) -> str:
    with pytest.raises(TensorIssues) as caught:
        from_npy(data)
    assert list(caught.value.issues) == ["file"]
    return caught.value.issues["file"]


@pytest.mark.parametrize("dtype", [name for name in NUMPY_OF.values() if name != "object"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_every_dtype_in_either_byte_order(dtype: str, order: str, version: tuple[int, int]) -> None:
    array = np.arange(6).reshape(2, 3).astype(np.dtype(dtype).newbyteorder(order))
    back = from_npy(saved(array, version))
    assert back.dtype == np.dtype(dtype).newbyteorder("<")
    assert np.array_equal(back, array)


def test_column_order_and_scalars() -> None:
    array = np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3))
    back = from_npy(saved(array))
    assert back.flags.c_contiguous
    assert back.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert from_npy(saved(np.float32(1.5))).tolist() == 1.5


def test_strings_become_bytes() -> None:
    assert from_npy(saved(np.array([["a", "é"]]))).tolist() == [[b"a", "é".encode()]]
    assert from_npy(saved(np.array([b"a", b"\xff"]))).tolist() == [b"a", b"\xff"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a .npy file that can be read"),
        (b"\x93NUMPY", "not a .npy file that can be read"),
        (b"PK\x03\x04" + b"\0" * 100, "not a .npy file that can be read"),
        (saved(np.zeros(2), (3, 0)), "version (3, 0) of the format is not read here"),
        (saved(np.array([{"a": 1}], object)), "dtype object is not read here"),
        (saved(np.zeros(2, [("a", "f4")])), "is not read here"),
        (saved(np.zeros(2, "c8")), "dtype complex64 is not read here"),
        (saved(np.zeros(2, "M8[s]")), "dtype datetime64[s] is not read here"),
        (saved(np.zeros(2, np.longdouble)), "is not read here"),
        (header("{'descr': '|S0', 'fortran_order': False, 'shape': (1000000000000,)}"), "is not read here"),
        (saved(np.zeros((0, 3))), "expected one value or more, got shape [0, 3]"),
        (saved(np.zeros(3))[:-1], "23 bytes of data do not make float64[3]"),
        (saved(np.zeros(3)) + b"x", "25 bytes of data do not make float64[3]"),
        (saved(np.zeros((1,) * 40)), "expected at most 32 axes, got 40"),
        (saved(np.array(["a"]))[:-4] + b"\x00\xd8\0\0", "surrogates not allowed"),
        (saved(np.array(["a"]))[:-4] + b"\xff\xff\xff\x7f", "not a .npy file that can be read"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (10**12,)}"), "not a .npy file"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"), "0 bytes of data do not make"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -1)}", b"\0" * 16), "not a .npy file"),
        (header("__import__('os').getcwd()"), "not a .npy file"),
        (header("{" + "(" * 200 + ")" * 200 + "}"), "not a .npy file"),
    ],
)
def test_what_is_no_plain_array_is_refused(data: bytes, message: str) -> None:
    assert message in issue_of(data)


def test_nothing_is_ever_unpickled(tmp_path: Any) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (open, (str(tmp_path / "sprung"), "w"))

    body = pickle.dumps(Trap())
    issue_of(header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", body))
    issue_of(body)
    assert not (tmp_path / "sprung").exists()


def test_bytes_are_given_as_fixed_width_strings() -> None:
    array = np.array([[b"a", "é".encode()], [b"", b"ccc"]], object)
    file = to_npy(array)
    assert np.load(io.BytesIO(file), allow_pickle=False).tolist() == array.tolist()
    assert from_npy(file).tolist() == array.tolist()


@given(data=st.binary(max_size=40), at=st.integers(0, 200), dtype=st.sampled_from(["f4", "U2", "S3", "?", "u8"]))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_damaged_file_is_an_array_or_is_refused(data: bytes, at: int, dtype: str) -> None:
    good = saved(np.ones((2, 3), dtype))
    try:
        array = from_npy(good[:at] + data + good[at + len(data) :])
    except TensorIssues as error:
        reason = error.issues["file"]
        assert reason
    else:
        assert array.size
