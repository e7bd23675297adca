"""The fast reading of predict bodies: it never decides otherwise than the slow one, it only may pass."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.signature import Signature, TensorSpec
from ml.tensors import TensorIssues, parse_instances, read_body


def signature(dtype: str = "FP32", shape: tuple[int | None, ...] = (3,)) -> Signature:
    return Signature((TensorSpec("x", dtype, shape),), (TensorSpec("y", "FP32", ()),))


def both(data: bytes, model: Signature) -> Any:
    """What the fast way gives, after seeing that the slow way gives the same, or that the fast one passes."""
    fast = read_body(data, model)
    if fast is None:
        return None
    body = orjson.loads(data)
    slow = parse_instances(body.pop("instances"), model)
    assert fast[1] == body
    assert fast[0]["x"].dtype == slow["x"].dtype
    np.testing.assert_array_equal(fast[0]["x"], slow["x"])
    return fast[0]["x"]


@pytest.mark.parametrize(
    ("dtype", "shape", "rows"),
    [
        ("FP32", (3,), [[1, 2.5, -3], [4e5, 5, 6]]),
        ("FP64", (), [1, 2, 3.5]),
        ("FP16", (2, 1), [[[1], [2]]]),
        ("FP32", (2, 2, 1), [[[[1], [2]], [[3], [4]]]]),
        ("FP32", (None,), [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ("INT64", (2,), [[1, -2], [2**62, 0]]),
        ("UINT8", (3,), [[0, 255, 7]]),
    ],
)
def test_plain_rows_are_taken(dtype: str, shape: tuple[int | None, ...], rows: Any) -> None:
    array = both(orjson.dumps({"instances": rows, "store": "none", "meta": [{"a": "[x"}]}), signature(dtype, shape))
    assert array is not None
    assert array.shape == (len(rows), *np.shape(rows)[1:])


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [[1, [2], 3]]}',
        b'{"instances": [[[1, 2, 3]]]}',
        b'{"instances": [[1, 2]]}',
        b'{"instances": [[1, 2, 3], [1, 2]]}',
        b'{"instances": [[1, 2, 3, 4]]}',
        b'{"instances": [[1, 2], [3, 4, 5, 6]]}',
        b'{"instances": []}',
        b'{"instances": [[]]}',
        b'{"instances": [1, 2, 3]}',
        b'{"instances": [[1, true, 3]]}',
        b'{"instances": [[1, null, 3]]}',
        b'{"instances": [[1, "2", 3]]}',
        b'{"instances": ["abc"]}',
        b'{"instances": [{"x": [1, 2, 3]}]}',
        b'{"instances": [[1, 1e39, 3]]}',
        b'{"instances": [[1, 1e400, 3]]}',
        b'{"instances": [[1, NaN, 3]]}',
        b'{"instances": [[1, 2, 3]], "instances": [[4, 5, 6]]}',
        b'{"instances": [[1, 2, 3]], "meta": "\\u005b"}',
        b'{"inputs": ["a"]}',
        b'{"instances": {"x": [1, 2, 3]}}',
        b"[[1, 2, 3]]",
        b'{"instances": [[1, 2, 3]',
        b"",
        b"\xff",
    ],
)
def test_what_is_not_plain_is_left_to_the_slow_way(body: bytes) -> None:
    assert read_body(body, signature()) is None
    assert both(b'{"instances": [[1, 2, 3]]}', signature()) is not None, "the next body is read as ever"


@pytest.mark.parametrize("rows", [[[1.5, 2]], [[256, 0]], [[-1, 0]], [[3.0, 1]]])
def test_integers_that_do_not_fit_are_left_to_the_slow_way(rows: Any) -> None:
    assert read_body(orjson.dumps({"instances": rows}), signature("UINT8", (2,))) is None


numbers = st.one_of(
    st.integers(-300, 300),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.booleans(),
    st.none(),
    st.text(max_size=2),
)
nested = st.recursive(numbers, lambda inner: st.lists(inner, max_size=3), max_leaves=12)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    rows=st.lists(nested, max_size=4),
    shape=st.sampled_from([(), (1,), (2,), (None,), (2, 2), (None, 1), (1, None)]),
    dtype=st.sampled_from(["FP32", "FP16", "INT64", "INT8"]),
)
def test_whatever_comes_the_fast_way_agrees_or_passes(rows: Any, shape: Any, dtype: str) -> None:
    model = signature(dtype, shape)
    data = json.dumps({"instances": rows}).encode()
    try:
        parse_instances(rows, model)
    except TensorIssues:
        assert read_body(data, model) is None
    else:
        both(data, model)
