"""Rows as JSON gives them: which become a batch, and what is said of those that do not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.signature import Signature, TensorSpec
from ml.tensors import TensorIssues, infer_json, parse_instances


def takes(*specs: tuple[str, str, tuple[int | None, ...]]) -> Signature:
    return Signature(tuple(TensorSpec(*spec) for spec in specs), (TensorSpec("y", "FP32", (1,)),))


def issues_of(instances: Any, signature: Signature) -> dict[str, str]:
    with pytest.raises(TensorIssues) as caught:
        parse_instances(instances, signature)
    return caught.value.issues


PAIR = takes(("x", "FP32", (2,)))


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("FP32", [1, 2.5]),
        ("FP64", [1e300, -3]),
        ("FP16", [65504, 0.5]),
        ("INT8", [-128, 127.0]),
        ("UINT8", [0, 255]),
        ("INT32", [3, 3.0]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("UINT64", [0, 2**64 - 1]),
        ("BOOL", [True, False]),
    ],
)
def test_values_that_a_type_takes(dtype: str, values: list[Any]) -> None:
    array = parse_instances([values], takes(("x", dtype, (2,))))["x"]
    assert array.shape == (1, 2)
    assert array.dtype == TensorSpec("x", dtype, ()).numpy_dtype
    assert [int(v) if isinstance(v, float) and "INT" in dtype else v for v in values] == [
        pytest.approx(v) if isinstance(v, float) else v for v in array[0].tolist()
    ]


def test_strings_become_bytes() -> None:
    array = parse_instances([["a", "é\0"]], takes(("x", "BYTES", (2,))))["x"]
    assert array.tolist() == [[b"a", "é\0".encode()]]


@pytest.mark.parametrize(
    ("dtype", "values", "message"),
    [
        ("FP32", [1, "2"], "x expected FP32[2]: at [1]: expected a number, got the string '2'"),
        ("FP32", [True, 2], "x expected FP32[2]: at [0]: expected a number, got true"),
        ("FP32", [None, 2], "x expected FP32[2]: at [0]: expected a number, got null"),
        ("FP32", [1, 1e39], "at [1]: 1e+39 is too large for FP32"),
        ("FP16", [1, 65520], "at [1]: 65520.0 is too large for FP16"),
        ("FP32", [1, math.nan], "at [1]: expected a finite number, got NaN"),
        ("FP64", [-math.inf, 1], "at [0]: expected a finite number, got -Infinity"),
        ("INT32", [1, 1.5], "at [1]: expected a whole number for INT32, got 1.5"),
        ("INT32", [1, math.inf], "at [1]: expected a whole number for INT32, got inf"),
        ("INT32", [2**31, 1], "at [0]: expected -2147483648 to 2147483647 for INT32, got 2147483648"),
        ("UINT8", [0, -1], "at [1]: expected 0 to 255 for UINT8, got -1"),
        ("UINT8", [256.0, 1], "at [0]: expected 0 to 255 for UINT8, got 256"),
        ("INT64", [1e30, 1], "at [0]: expected"),
        ("INT32", [True, 1], "at [0]: expected a number, got true"),
        ("BOOL", [True, 1], "at [1]: expected true or false, got the number 1"),
        ("BOOL", ["true", True], "at [0]: expected true or false, got the string 'true'"),
        ("BYTES", ["a", 1], "at [1]: expected a string, got the number 1"),
        ("BYTES", ["a", None], "at [1]: expected a string, got null"),
    ],
)
def test_values_that_a_type_does_not_take(dtype: str, values: list[Any], message: str) -> None:
    good = {"BOOL": True, "BYTES": "a"}.get(dtype, 1)
    issues = issues_of([[good, good], values], takes(("x", dtype, (2,))))
    assert list(issues) == ["instances[1]"]
    assert message in issues["instances[1]"]


def test_a_number_beyond_every_float_is_refused() -> None:
    assert issues_of([[10**400, 1]], PAIR) == {"instances": "x expected FP32[2]: a number is too large for FP32"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1], "expected a list of 2, got a list of 1"),
        ([1, 2, 3], "expected a list of 2, got a list of 3"),
        ([], "expected a list of 2, got a list of 0"),
        (5, "expected a list of 2, got the number 5"),
        ([[1], [2]], "at [0] expected a single value, got a list of 1"),
        ([1, [2]], "at [1] expected a single value, got a list of 1"),
        ([1, {"x": 2}], "at [1] expected a single value, got an object"),
        ("ab", "expected a list of 2, got the string 'ab'"),
    ],
)
def test_a_row_of_another_shape_is_named(row: Any, message: str) -> None:
    assert issues_of([[1, 2], row], PAIR) == {"instances[1]": f"x expected FP32[2]: {message}"}


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ([[[1, 2], [3, 4]], [[5, 6], [7]]], "at [1][1]"),
        ([[[1, 2], [3, 4]], [[5, 6]]], "at [1]"),
        ([[[1, 2], [3, 4]], [[5, 6], 7]], "at [1][1]"),
        ([[[1, 2], [3, 4]]], ""),
        # As many values as fit, in the wrong places: they must not be read as another row.
        ([[[1, 2, 3], [4]], [[5, 6], [7, 8]]], "at [0][0]"),
        ([[1, 2, 3, 4], [5, 6, 7, 8]], "at [0]"),
        ([1, 2, 3, 4, 5, 6, 7, 8], "expected a list of 2"),
    ],
)
def test_ragged_lists_are_refused_at_every_depth(row: Any, place: str) -> None:
    cube = takes(("x", "FP32", (2, 2, 2)))
    issues = issues_of([row], cube)
    assert place in issues["instances[0]"]
    assert "x expected FP32[2,2,2]" in issues["instances[0]"]


def test_free_dimensions_take_any_length_that_all_rows_share() -> None:
    free = takes(("x", "INT64", (None, 2)))
    assert parse_instances([[[1, 2], [3, 4], [5, 6]]], free)["x"].shape == (1, 3, 2)
    issues = issues_of([[[1, 2]], [[1, 2], [3, 4]]], free)
    assert issues == {"instances[1]": "x expected INT64[?,2]: expected a list of 1, got a list of 2"}
    assert "one or more, got an empty list" in issues_of([[]], free)["instances[0]"]
    assert "expected a list of 2" in issues_of([[[1]]], free)["instances[0]"]


def test_a_scalar_row_is_a_bare_value() -> None:
    scalar = takes(("x", "FP32", ()))
    assert parse_instances([1, 2.5], scalar)["x"].tolist() == [1.0, 2.5]
    assert issues_of([1, [2]], scalar) == {
        "instances[1]": "x expected FP32[]: expected a single value, got a list of 1"
    }
    assert issues_of(["a"], scalar) == {"instances[0]": "x expected FP32[]: expected a number, got the string 'a'"}


def test_several_inputs_come_by_name() -> None:
    both = takes(("a", "FP32", (2,)), ("b", "BYTES", ()))
    arrays = parse_instances([{"a": [1, 2], "b": "u"}, {"b": "v", "a": [3, 4]}], both)
    assert arrays["a"].tolist() == [[1, 2], [3, 4]]
    assert arrays["b"].tolist() == [b"u", b"v"]
    issues = issues_of([{"a": [1, 2]}, {"a": [1], "b": "v", "c": 1}, [1, 2]], both)
    assert issues == {
        "instances[0].b": "expected BYTES[], got nothing",
        "instances[1].c": "no such input; the model takes a, b",
        "instances[2]": "expected an object with a, b, got a list of 2",
    }
    assert issues_of([{"a": [1], "b": "v"}, {"a": [1, 2], "b": 5}], both) == {
        "instances[0].a": "a expected FP32[2]: expected a list of 2, got a list of 1",
        "instances[1].b": "b expected BYTES[]: expected a string, got the number 5",
    }


def test_a_sole_input_may_be_named_too() -> None:
    assert parse_instances([{"x": [1, 2]}, [3, 4]], PAIR)["x"].tolist() == [[1, 2], [3, 4]]
    assert issues_of([{"z": [1, 2]}], PAIR) == {
        "instances[0].z": "no such input; the model takes x",
        "instances[0].x": "expected FP32[2], got nothing",
    }


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        ({}, "expected a list of rows, got an object"),
        (None, "expected a list of rows, got null"),
        ("ab", "expected a list of rows, got the string 'ab'"),
        ([], "expected one row or more, got an empty list"),
    ],
)
def test_what_is_no_list_of_rows(instances: Any, message: str) -> None:
    assert issues_of(instances, PAIR) == {"instances": message}


def test_of_very_many_wrong_rows_some_are_named() -> None:
    assert len(issues_of([[1]] * 5000, PAIR)) == 20
    assert len(issues_of([{"q": 1}] * 5000, PAIR)) == 20


@pytest.mark.parametrize(
    ("value", "dtype", "shape"),
    [
        ([1, 2], "int64", (2,)),
        ([1, 2.5], "float64", (2,)),
        ([[True], [False]], "bool", (2, 1)),
        ("a", "object", ()),
        (5, "int64", ()),
        ([["a", "b"]], "object", (1, 2)),
    ],
)
def test_a_tensor_without_a_model_has_the_type_of_its_values(value: Any, dtype: str, shape: tuple[int, ...]) -> None:
    array = infer_json(value, "data")
    assert (array.dtype.name, array.shape) == (dtype, shape)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "expected lists of one or more, got an empty list"),
        ([[1], []], "ragged: at [1] expected a list of 1, got a list of 0"),
        ([[1, 2], [3]], "ragged: at [1] expected a list of 2, got a list of 1"),
        ([1, "a"], "at [1]: expected a number, got the string 'a'"),
        ([1, True], "at [1]: expected a number, got true"),
        ([True, 1], "at [1]: expected true or false, got the number 1"),
        ([None], "at [0]: expected a number, got null"),
        (None, "expected a number, got null"),
        ([{}], "ragged: at [0] expected a single value, got an object"),
        ([2**63], "at [0]: expected -9223372036854775808 to 9223372036854775807 for INT64, got 9223372036854775808"),
    ],
)
def test_what_is_no_tensor(value: Any, message: str) -> None:
    with pytest.raises(TensorIssues) as caught:
        infer_json(value, "data")
    assert caught.value.issues == {"data": message}


def test_a_deep_nest_of_lists_is_refused() -> None:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    with pytest.raises(TensorIssues, match="expected at most 32 axes"):
        infer_json(value, "data")
    assert "expected a single value" in issues_of([[value, 1]], PAIR)["instances[0]"]


SHAPES = st.lists(st.integers(1, 3), min_size=1, max_size=3)


@given(shape=SHAPES, rows=st.integers(1, 3), data=st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_what_fits_comes_back_as_it_was(shape: list[int], rows: int, data: st.DataObject) -> None:
    count = rows * math.prod(shape)
    values = data.draw(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=count, max_size=count))
    nested = np.array(values).reshape(rows, *shape).tolist()
    array = parse_instances(nested, takes(("x", "INT32", tuple(shape))))["x"]
    assert array.tolist() == nested


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2),
    max_leaves=10,
)
SIGNATURES = [
    takes(("x", dtype, shape)) for dtype in ("FP16", "INT8", "BOOL", "BYTES") for shape in ((), (2,), (None, 1))
] + [takes(("x", "FP32", (None,)), ("y", "INT64", ()))]


@given(instances=JSON, signature=st.sampled_from(SIGNATURES))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_json_is_a_batch_or_is_refused(instances: Any, signature: Signature) -> None:
    try:
        arrays = parse_instances(instances, signature)
    except TensorIssues as error:
        issues = error.issues
        assert all(place.startswith("instances") and reason for place, reason in issues.items())
        return
    for spec in signature.inputs:
        assert arrays[spec.name].dtype == spec.numpy_dtype
        assert len(arrays[spec.name]) == len(instances)
        assert spec.fits(arrays[spec.name].shape[1:])
