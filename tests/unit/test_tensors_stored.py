"""Tensors as documents hold them: what is stored is read back, and what others wrote wrongly is refused."""

from __future__ import annotations

import math
from typing import Any

import bson
import numpy as np
import pytest
from bson.binary import Binary, BinaryVectorDtype
from bson.int64 import Int64
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.signature import NUMPY_OF, Signature, TensorSpec
from ml.tensors import TensorIssues, from_stored, is_packed, outline, row_of, stack_stored, to_stored, to_stored_rows


def spec(dtype: str, *shape: int | None) -> TensorSpec:
    return TensorSpec("x", dtype, shape)


def issue_of(value: Any, wanted: TensorSpec | None = None) -> str:
    with pytest.raises(TensorIssues) as caught:
        from_stored(value, wanted)
    assert list(caught.value.issues) == ["data"]
    return caught.value.issues["data"]


def packed(dtype: str, shape: Any, data: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data": data}


def through_bson(value: Any) -> Any:
    return bson.decode(bson.encode({"v": value}))["v"]


def test_up_to_64_values_are_stored_as_arrays_and_more_packed() -> None:
    assert to_stored(np.arange(64, dtype="f4").reshape(8, 8)) == np.arange(64.0).reshape(8, 8).tolist()
    stored = to_stored(np.arange(65, dtype="<f4"))
    assert stored == packed("FP32", [65], Binary(np.arange(65, dtype="<f4").tobytes(), 0))
    assert to_stored(np.float32(0.5)) == 0.5


def test_numbers_that_bson_has_no_integer_for_are_packed() -> None:
    large = np.array([2**64 - 1, 1], "u8")
    assert is_packed(to_stored(large))
    assert from_stored(through_bson(to_stored(large))).tolist() == [2**64 - 1, 1]
    assert to_stored(np.array([2**63 - 1], "u8")) == [2**63 - 1]


def test_strings_are_stored_as_text_where_they_are_text() -> None:
    array = np.array([b"abc", "é".encode(), b"\xff\0", b"", b"e"], object)
    stored = to_stored(array)
    assert stored == ["abc", "é", Binary(b"\xff\0"), "", "e"]
    assert from_stored(through_bson(stored)).tolist() == array.tolist()
    assert to_stored_rows(np.array([b"ab\0", b"\xff"], object)) == ["ab\0", Binary(b"\xff")]
    long = np.array([b"x" * i for i in range(65)], object)
    assert is_packed(to_stored(long))
    assert from_stored(through_bson(to_stored(long))).tolist() == long.tolist()


DTYPES = [name for name in NUMPY_OF if name not in ("BYTES", "BOOL")]


@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.integers(1, 5), max_size=4),
    seed=st.integers(0, 2**32 - 1),
    order=st.sampled_from("<>"),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_every_number_is_read_back_to_the_bit(dtype: str, shape: list[int], seed: int, order: str) -> None:
    numpy = np.dtype(NUMPY_OF[dtype])
    raw = np.random.default_rng(seed).bytes(math.prod(shape) * numpy.itemsize)
    array = np.nan_to_num(np.frombuffer(raw, numpy).reshape(shape), nan=0, posinf=1, neginf=-1)
    stored = through_bson(to_stored(array.astype(numpy.newbyteorder(order))))
    back = from_stored(stored, TensorSpec("x", dtype, tuple(shape)))
    assert back.dtype == numpy
    assert np.array_equal(back, array)


@pytest.mark.parametrize("name", [*NUMPY_OF, "float32", "uint8", "bool", "string"])
def test_both_names_of_a_dtype_are_read(name: str) -> None:
    data = {"BYTES": b"\1\0\0\0a", "string": b"\1\0\0\0a"}.get(
        name, b"\1" + bytes(np.dtype(NUMPY_OF.get(name, name)).itemsize - 1) if name not in ("BYTES", "string") else b""
    )
    assert from_stored(packed(name, [1], data)).shape == (1,)


def test_the_vectors_of_bson_are_read() -> None:
    floats = Binary.from_vector([1.5, -2.0], BinaryVectorDtype.FLOAT32)
    assert from_stored(packed("FP32", [2], floats)).tolist() == [1.5, -2.0]
    small = Binary.from_vector([1, -2, 3, 4], BinaryVectorDtype.INT8)
    assert from_stored(packed("INT8", [2, 2], small)).tolist() == [[1, -2], [3, 4]]
    bits = Binary.from_vector([0b10110000], BinaryVectorDtype.PACKED_BIT, padding=4)
    assert from_stored(packed("BOOL", [4], bits)).tolist() == [True, False, True, True]
    assert "does not hold FP64" in issue_of(packed("FP64", [2], floats))
    assert "expected 3 values, got 2" in issue_of(packed("FP32", [3], floats))
    assert "vector cannot be read" in issue_of(packed("FP32", [1], Binary(b"\x27", 9)))


def test_data_may_be_a_flat_list() -> None:
    assert from_stored(packed("UINT8", [2, 2], [1, 2, 3, 4])).tolist() == [[1, 2], [3, 4]]
    assert "a list of 4, got a list of 2" in issue_of(packed("UINT8", [2, 2], [[1, 2], [3, 4]]))
    assert "0 to 255" in issue_of(packed("UINT8", [1], [256]))


def test_a_shape_of_64_bit_numbers_is_as_good() -> None:
    assert from_stored(packed("UINT8", [Int64(2)], b"\1\2")).tolist() == [1, 2]
    assert from_stored([Int64(1), 2], spec("INT32", 2)).tolist() == [1, 2]
    assert from_stored([Int64(2**40), 2]).dtype == np.int64


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (packed("FP99", [1], b""), "expected a dtype such as FP32 or BYTES, got the string 'FP99'"),
        (packed("complex64", [1], b"x" * 8), "got the string 'complex64'"),
        (packed("bfloat16", [1], b"xx"), "got the string 'bfloat16'"),
        (packed(None, [1], b""), "got null"),  # type: ignore[arg-type]
        (packed([1], [1], b""), "expected a dtype such as FP32"),  # type: ignore[arg-type]
        (packed("FP32", 5, b""), "expected shape to be a list of positive whole numbers, got 5"),
        (packed("FP32", "ab", b""), "expected shape to be a list"),
        (packed("FP32", [0], b""), "expected shape to be a list of positive whole numbers, got [0]"),
        (packed("FP32", [-1], b""), "expected shape to be a list"),
        (packed("FP32", [True], b"1234"), "expected shape to be a list"),
        (packed("FP32", [1.0], b"1234"), "expected shape to be a list"),
        (packed("FP32", [2**40], b""), "expected shape to be a list"),
        (packed("FP32", [1] * 70, b"1234"), "expected at most 32 axes, got 70"),
        (packed("FP32", [1] * 5000 + [0], b"1234"), "expected shape to be a list"),
        (packed("FP32", [2], b"1234"), "expected 8 bytes for FP32[2], got 4"),
        (packed("FP32", [2**30, 2**30], b"1234"), "expected 4611686018427387904 bytes"),
        (packed("FP32", [1], "1234"), "expected data to be binary, got the string '1234'"),
        (packed("FP32", [1], None), "expected data to be binary, got null"),
        (packed("BOOL", [3], b"\0\2\1"), "expected every byte of a BOOL tensor to be 0 or 1"),
        (packed("BYTES", [2**30, 2**30], b""), "elements, each of 4 bytes or more, got 0 bytes"),
        (packed("BYTES", [2], b"\1\0\0\0a"), "elements, each of 4 bytes or more, got 5 bytes"),
        (packed("BYTES", [2], b"\4\0\0\0aaaa"), "ends before element 1"),
        (packed("BYTES", [1], b"\xff\xff\xff\xffa"), "element 0 of 1 is longer than the data"),
        (packed("BYTES", [1], b"\0\0\0\0rest"), "4 bytes are left after element 1"),
        ({"dtype": "FP32"}, "expected an array or {dtype, shape, data}, got an object"),
        ([[1, 2], [3]], "ragged: at [1] expected a list of 2"),
        (None, "expected a number, got null"),
        ([1, float("nan")], "expected a finite number, got NaN"),
        ([1, "a"], "expected a number"),
    ],
)
def test_what_other_programs_wrote_wrongly_is_refused(value: Any, message: str) -> None:
    issue = issue_of(value)
    assert message in issue
    assert len(issue) < 300


@pytest.mark.parametrize(
    ("value", "wanted", "message"),
    [
        ([1.0, 2.0], spec("INT32", 2), "expected INT32[2]: expected a whole number for INT32, got 1.0"),
        (packed("FP32", [2], b"\0" * 8), spec("INT32", 2), "expected INT32[2]: expected INT32, got FLOAT32"),
        (packed("UINT8", [2], b"\1\0"), spec("BOOL", 2), "expected BOOL[2]: expected BOOL, got UINT8"),
        (packed("INT64", [1], b"\xff" * 8), spec("UINT8", 1), "a value is outside 0 to 255 for UINT8"),
        (packed("FP64", [1], np.array([1e300]).tobytes()), spec("FP32", 1), "too large for FP32"),
        (packed("FP32", [1], np.array([np.inf], "f4").tobytes()), spec("FP32", 1), "a finite number, got Infinity"),
        ([1, 2, 3], spec("FP32", 2), "expected FP32[2]: expected a list of 2, got a list of 3"),
        (packed("FP32", [3], b"\0" * 12), spec("FP32", 2), "expected FP32[2], got shape [3]"),
        (packed("FP32", [2, 1], b"\0" * 8), spec("FP32", 2), "expected FP32[2], got shape [2, 1]"),
        (["a"], spec("FP32", 1), "expected a number, got the string 'a'"),
    ],
)
def test_what_does_not_fit_a_model_is_refused(value: Any, wanted: TensorSpec, message: str) -> None:
    assert message in issue_of(value, wanted)


def test_integers_become_floats_and_doubles_narrow() -> None:
    assert from_stored([1, 2], spec("FP32", 2)).dtype == np.float32
    assert from_stored([0.5, 2], spec("FP16", 2)).tolist() == [0.5, 2.0]
    assert from_stored(packed("INT8", [2], b"\1\xff"), spec("FP64", None)).tolist() == [1.0, -1.0]
    assert from_stored(packed("INT64", [1], b"\1" + b"\0" * 7), spec("UINT8", 1)).dtype == np.uint8


def test_a_long_tensor_is_outlined_by_dtype_and_shape() -> None:
    assert outline(packed("FP32", [2, 600], b""), 1024) == {"dtype": "FP32", "shape": [2, 600]}
    assert outline(packed("float32", [1025], b""), 1024) == {"dtype": "FP32", "shape": [1025]}
    assert outline(packed("FP32", [1024], b""), 1024) is None
    assert outline([[1] * 600, [2.5] * 600], 1024) == {"dtype": "FP64", "shape": [2, 600]}
    assert outline([1] * 1025, 1024) == {"dtype": "INT64", "shape": [1025]}
    assert outline([float("nan")] * 1025, 1024) == {"dtype": "FP64", "shape": [1025]}
    assert outline(["a"] * 1025, 1024) == {"dtype": "BYTES", "shape": [1025]}
    assert outline([1, 2], 1024) is None
    assert outline("abc", 1024) is None
    for wrong in (packed("FP32", 5, b""), [[1] * 600, [1] * 601], packed("no", [2000], b"")):
        with pytest.raises(TensorIssues):
            outline(wrong, 1024)


TWO = Signature((TensorSpec("a", "FP32", (2,)), TensorSpec("b", "INT64", (None,))), ())
ONE = Signature((TensorSpec("x", "FP32", (2,)),), ())


def test_a_row_is_one_tensor_or_tensors_by_name() -> None:
    assert row_of([1, 2], ONE, "data")["x"].tolist() == [1, 2]
    assert row_of({"x": [1, 2]}, ONE, "data")["x"].tolist() == [1, 2]
    row = row_of({"a": [1, 2], "b": packed("INT64", [1], b"\1" + b"\0" * 7)}, TWO, "data")
    assert row["b"].tolist() == [1]


@pytest.mark.parametrize(
    ("data", "signature", "issues"),
    [
        ([1, 2], TWO, {"data": "expected a, b, got one tensor"}),
        ({"a": [1, 2]}, TWO, {"data": "expected a, b, got a"}),
        ({"a": [1], "b": [1]}, TWO, {"data.a": "expected FP32[2]: expected a list of 2, got a list of 1"}),
        (
            {"z": [1, 2]},
            ONE,
            {"data": "expected FP32[2]: expected an array or {dtype, shape, data}, got an object with ['z']"},
        ),
    ],
)
def test_a_row_that_is_not_the_models(data: Any, signature: Signature, issues: dict[str, str]) -> None:
    with pytest.raises(TensorIssues) as caught:
        row_of(data, signature, "data")
    assert caught.value.issues == issues


def test_rows_are_stacked_where_their_shapes_agree() -> None:
    documents = [{"data": {"a": [1, 2], "b": [1]}}, {"data": {"a": [3, 4], "b": [2]}}]
    arrays = stack_stored(documents, TWO, ["p", "q"])
    assert arrays["a"].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(TensorIssues) as caught:
        stack_stored([documents[0], {"data": {"a": [3, 4], "b": [2, 3]}}], TWO, ["p", "q"])
    assert caught.value.issues == {"q.b": "expected shape [1] as in the first row"}


GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=3) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["dtype", "x"]), inner, max_size=2),
    max_leaves=8,
)


@given(
    value=GARBAGE
    | st.fixed_dictionaries(
        {
            "dtype": st.sampled_from([*NUMPY_OF, "x"]) | GARBAGE,
            "shape": st.lists(st.integers()) | GARBAGE,
            "data": GARBAGE,
        }
    ),
    wanted=st.none() | st.sampled_from([spec("FP32", 2), spec("BYTES"), spec("BOOL", None)]),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_garbage_is_a_tensor_or_is_refused(value: Any, wanted: TensorSpec | None) -> None:
    for read in (lambda: from_stored(value, wanted), lambda: outline(value, 1)):
        try:
            read()
        except TensorIssues as error:
            issues = error.issues
            assert issues


def test_rows_that_are_one_string_each_are_stored_as_text() -> None:
    batch = np.array(["größer".encode(), b"a\0", b"\xff"], object)
    assert to_stored_rows(batch) == ["größer", "a\0", Binary(b"\xff")]
