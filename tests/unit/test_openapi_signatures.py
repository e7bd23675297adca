"""The values of each dtype in a model's document: as they are sent, and as they are answered."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from api.openapi.signatures import instance_schema, output_schema
from ml.service import Signature
from ml.service import TensorSpec as Spec


def signature(dtype: str, shape: tuple[int | None, ...] = ()) -> Signature:
    spec = Spec("x", dtype, shape)
    return Signature((spec,), (spec,))


@pytest.mark.parametrize(
    ("dtype", "sent", "refused", "answered", "never"),
    [
        ("FP32", [1, 2.5], ["1", True, None, 3.5e38], [1.5, 2, None], ["1", True]),
        ("FP64", [1e300], ["1"], [1e300, None], [True]),
        ("INT16", [32767, 2.0], [32768, 0.5, True], [5], [0.5, None, "1"]),
        ("UINT8", [0, 255], [-1, 256], [0], [None]),
        ("BOOL", [True], [1, "true"], [False], [0, None]),
        ("BYTES", ["a", ""], [1, True, None], ["a"], [1, None]),
    ],
)
def test_a_value(
    dtype: str, sent: list[object], refused: list[object], answered: list[object], never: list[object]
) -> None:
    asked, given = (Draft202012Validator(make(signature(dtype))) for make in (instance_schema, output_schema))
    assert [value for value in sent if not asked.is_valid(value)] == []
    assert [value for value in refused if asked.is_valid(value)] == []
    assert [value for value in answered if not given.is_valid(value)] == []
    assert [value for value in never if given.is_valid(value)] == []


def test_a_free_dimension_is_empty_only_in_answers() -> None:
    asked, given = (make(signature("FP32", (2, None))) for make in (instance_schema, output_schema))
    for row in ([[1], [2]], [[1, 2], [3, 4]]):
        assert Draft202012Validator(asked).is_valid(row)
        assert Draft202012Validator(given).is_valid(row)
    for row in ([[], []], [[1]], [[1], [2], [3]]):
        assert not Draft202012Validator(asked).is_valid(row)
    assert Draft202012Validator(given).is_valid([[], []])
