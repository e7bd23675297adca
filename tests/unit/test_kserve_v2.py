"""The bytes and names of v2's tensors: where they lie, in which order, and how much of a body is unpacked."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from api.dialects.bodies import decompressed
from api.dialects.kserve_v2.inference_answer import best
from api.dialects.kserve_v2.inference_request import read_asked
from api.errors import ApiError
from ml.service import Signature
from ml.tensors import TensorIssues, dtype_of, from_raw, read_named, to_raw

DTYPES = ["FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL"]
TWO = Signature.from_document(
    {
        "inputs": [{"name": "a", "dtype": "FP32", "shape": [2]}, {"name": "b", "dtype": "INT64", "shape": []}],
        "outputs": [{"name": "y", "dtype": "FP32", "shape": [1]}],
    }
)
A = {"name": "a", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}
B = {"name": "b", "shape": [2], "datatype": "INT64", "data": [7, 8]}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("start", [0, 1, 8])
def test_numbers_are_as_they_were_and_where_processors_want_them(dtype: str, start: int) -> None:
    values = np.array([[0, 1, 1], [1, 0, 1]]).astype({"FP": "f8", "BO": "?"}.get(dtype[:2], "i8"))
    values = from_raw(values.tobytes(), {"f": "FP64", "b": "BOOL", "i": "INT64"}[values.dtype.kind], [2, 3], 0,
                      values.nbytes)  # fmt: skip
    array = values.astype({"FP16": "f2", "FP32": "f4", "FP64": "f8", "BOOL": "?"}.get(dtype, dtype.lower()))
    raw = bytes(to_raw(array))
    found = from_raw(b"x" * start + raw + b"y", dtype, [2, 3], start, len(raw))
    assert found.flags.aligned
    assert dtype_of(found) == dtype
    np.testing.assert_array_equal(found, array)
    assert bytes(to_raw(array[:, ::2])) == array[:, ::2].copy().tobytes()


def test_numbers_that_lie_well_are_not_copied() -> None:
    data = np.arange(6, dtype="f4").tobytes()
    found = from_raw(data, "FP32", [2, 3], 0, 24)
    assert np.shares_memory(found, np.frombuffer(data, "u1"))
    assert np.shares_memory(found, np.frombuffer(to_raw(found), "u1"))


@pytest.mark.parametrize("inputs", [[A, B], [B, A], [{**A, "data": [[1, 2], [3, 4]]}, B]])
def test_inputs_are_in_the_signatures_order(inputs: list[Any]) -> None:
    asked = read_asked(json.dumps({"inputs": inputs}).encode(), None, TWO)
    assert list(asked.arrays) == ["a", "b"]
    assert [array.tolist() for array in asked.arrays.values()] == [[[1, 2], [3, 4]], [7, 8]]
    assert [array.dtype for array in asked.arrays.values()] == ["f4", "i8"]


def test_inputs_have_the_same_rows() -> None:
    for other in ({**B, "shape": [1], "data": [7]}, {**B, "shape": [3], "data": [7, 8, 9]}):
        with pytest.raises(TensorIssues, match=r"expected as many rows in every input, got \{'a': 2, 'b': "):
            read_asked(json.dumps({"inputs": [A, other]}).encode(), None, TWO)
    with pytest.raises(TensorIssues, match="inputs: expected b, which is INT64"):
        read_asked(json.dumps({"inputs": [A]}).encode(), None, TWO)


def test_the_quick_way_is_taken_where_it_can_be() -> None:
    for inputs in (
        [A, B],
        [{**A, "data": [[1, 2], [3, 4]]}],
        [{**A, "data": [1.5, 2, 3, 4], "parameters": {"a": "["}}],
    ):
        found = read_named(json.dumps({"id": "x[", "inputs": inputs, "outputs": [{"name": "y"}]}).encode())
        assert found is not None
        assert all(isinstance(tensor["data"], np.ndarray) for tensor in found["inputs"])
    for data in (
        [1, 2, 3],
        [[1, 2], [3]],
        [[1, 2, 3], [4]],
        [1, 2, [3, 4]],
        [[1, 2], 3, 4],
        [1, 2, 3, "4"],
        [[[1, 2]]],
    ):
        assert read_named(json.dumps({"inputs": [{**A, "data": data}]}).encode()) is None


def test_a_small_body_that_would_be_large_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(ApiError, match="larger than is allowed"):
            decompressed(bomb, "gzip", 1000)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_the_best_classes() -> None:
    scores = np.array([[0.25, 0.5, np.nan], [3, 3, 1]], "f4")
    assert best(scores, 2, ["a", "b", "c"]).tolist() == [
        [b"0.500000:1:b", b"0.250000:0:a"],
        [b"3.000000:0:a", b"3.000000:1:b"],
    ]
    assert best(np.array([[1, 250, 3]], "u1"), 5, ["too", "few"]).tolist() == [[b"250:1", b"3:2", b"1:0"]]
    assert best(np.array([7], "i8"), 1, None).tolist() == [[b"7:0"]]
