"""Many stored rows read at once: the same values as one by one, or nothing, whatever is in them."""

from __future__ import annotations

from typing import Any

import bson
import numpy as np
import pytest
from bson import Binary, Int64
from bson.binary import BinaryVectorDtype
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.signature import Signature, TensorSpec
from ml.tensors import TensorIssues, alike, row_of, to_stored

ONE = Signature((TensorSpec("x", "FP32", (4,)),), ())
FREE = Signature((TensorSpec("x", "FP32", (None, 2)),), ())
ANY = Signature((TensorSpec("x", "FP32", (None, None)),), ())
TWO = Signature((TensorSpec("a", "INT64", (2,)), TensorSpec("b", "FP32", ())), ())


def packed(dtype: Any, shape: Any, data: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data": data}


def floats(count: int, dtype: str = "<f4") -> bytes:
    return np.arange(count).astype(dtype).tobytes()


GOOD = packed("FP32", [4], floats(4))
ROWS = [
    [1.0, 2.0, 3.0, 4.0],
    [1, 2, 3, 4],
    [1.0, 2, 3.5, Int64(2**40)],
    GOOD,
    packed("FP64", [4], floats(4, "<f8")),
    packed("float32", [4], floats(4)),
    packed("INT8", [4], floats(4, "i1")),
    packed("FP32", [4], Binary.from_vector([1.0, 2.0, 3.0, 4.0], BinaryVectorDtype.FLOAT32)),
    packed("FP32", [2, 2], floats(4)),
    packed("FP32", [4.0], floats(4)),
    packed("FP32", [True, 4], floats(4)),
    packed("FP32", [5], floats(5)),
    packed("FP32", [4], floats(5)),
    packed("FP32", [4], floats(4)[:-1]),
    packed("FP32", [-2, -2], floats(4)),
    packed("FP32", [4], np.array([1, 2, np.nan, 4], "<f4").tobytes()),
    packed("FP64", [4], np.array([1, 2, 1e300, 4], "<f8").tobytes()),
    packed("FP99", [4], floats(4)),
    packed("BOOL", [4], b"\1\0\1\0"),
    packed("FP32", [4], [1.0, 2.0, 3.0, 4.0]),
    packed("FP32", 4, floats(4)),
    [1.0, 2.0, 3.0],
    [1.0, 2.0, 3.0, "4"],
    [1.0, 2.0, 3.0, True],
    [1.0, 2.0, 3.0, float("inf")],
    [[1.0, 2.0], [3.0, 4.0]],
    [[1.0, 2.0], [3.0]],
    {"x": [1.0, 2.0, 3.0, 4.0]},
    {"x": GOOD},
    {"y": GOOD},
    {"a": [1, 2], "b": 0.5},
    {"a": [1, 2.0], "b": 0.5},
    {"a": [1, 2], "b": 0.5, "c": 1},
    packed("FP32", [2, 2], floats(4)) | {"more": 1},
    None,
    "text",
    7,
    [],
    {},
]


def one_by_one(rows: list[Any], signature: Signature) -> dict[str, np.ndarray[Any, Any]] | None:
    """The batch where every row fits and all have one shape."""
    try:
        read = [row_of(row, signature, "data") for row in rows]
    except TensorIssues:
        return None
    names = [spec.name for spec in signature.inputs]
    if any(row[name].shape != read[0][name].shape for row in read for name in names):
        return None
    return {name: np.stack([row[name] for row in read]) for name in names}


def check(rows: list[Any], signature: Signature) -> bool:
    """Compare the two; whether the fast way gave anything."""
    # As the driver gives them.
    rows = [bson.decode(bson.encode({"data": row}))["data"] for row in rows]
    fast, slow = alike(rows, signature), one_by_one(rows, signature)
    if fast is None:
        return False
    assert slow is not None, "the slow way refuses what the fast way takes"
    for name, values in slow.items():
        assert fast[name].dtype == values.dtype
        assert fast[name].tobytes() == values.tobytes()
        assert fast[name].shape == values.shape
    return True


@given(st.lists(st.sampled_from(ROWS), min_size=1, max_size=4), st.sampled_from([ONE, FREE, ANY, TWO]))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_it_never_decides_otherwise_than_row_by_row(rows: list[Any], signature: Signature) -> None:
    check(rows, signature)


@pytest.mark.parametrize("signature", [ONE, FREE, ANY, TWO])
def test_rows_of_every_kind_beside_themselves(signature: Signature) -> None:
    taken = [number for number, row in enumerate(ROWS) if check([row, row, row], signature)]
    assert len(taken) >= {ONE: 6, FREE: 2, ANY: 2, TWO: 1}[signature], "the fast way is to be taken for what is usual"


def test_what_almanac_stores_is_read_at_once() -> None:
    for count in (4, 100):
        signature = Signature((TensorSpec("x", "FP32", (count,)),), ())
        arrays = np.random.default_rng(1).random((50, count), "f4")
        stored = [bson.decode(bson.encode({"data": to_stored(array)}))["data"] for array in arrays]
        batch = alike(stored, signature)
        assert batch is not None
        assert np.array_equal(batch["x"], arrays)
