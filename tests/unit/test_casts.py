"""Values in filters are cast by the field's type alone, and what it cannot hold is said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId

from ml.database.casts import CastError, cast, parse_time

HEX = "65a0c0ffee65a0c0ffee65a0"
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (HEX, "objectid", ObjectId(HEX)),
        ("2026-05-04T12:00:00.000Z", "datetime", NOON),
        ("2026-05-04T14:00:00+02:00", "datetime", NOON),
        ("2026-05-04T12:00:00", "datetime", NOON),
        ("2026-05-04", "datetime", datetime(2026, 5, 4, tzinfo=UTC)),
        ("abc", "string", "abc"),
        (HEX, "string", HEX),
        ("2026-05-04", "string", "2026-05-04"),
        (3, "integer", 3),
        (3.0, "integer", 3),
        (-(2**63), "integer", -(2**63)),
        (3, "number", 3),
        (1.5, "number", 1.5),
        (True, "boolean", True),
        (HEX, "any", HEX),
        ("2026-05-04", "any", "2026-05-04"),
        ({"a": [1, {"b": None}]}, "any", {"a": [1, {"b": None}]}),
        ("x", "string|number|boolean|any", "x"),
        (5, "string|number", 5),
        (["a", "b"], "string", ["a", "b"]),
        ([HEX], "objectid", [ObjectId(HEX)]),
    ],
)
def test_a_value_that_fits_is_cast(value: Any, kind: str, expected: Any) -> None:
    result = cast(value, kind)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize("kind", ["objectid", "datetime", "string", "integer", "number", "boolean", "any"])
def test_null_stands_for_itself(kind: str) -> None:
    assert cast(None, kind) is None


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("xyz", "objectid", 'expected objectid, got a string "xyz"'),
        ("g" * 24, "objectid", "expected objectid, got a string"),
        ("é" * 24, "objectid", "expected objectid, got a string"),
        (5, "objectid", "expected objectid, got a number 5"),
        ("yesterday", "datetime", 'expected datetime, got a string "yesterday"'),
        ("0001-01-01T00:00:00+14:00", "datetime", "expected datetime"),
        (1700000000, "datetime", "expected datetime, got a number 1700000000"),
        (5, "string", "expected string, got a number 5"),
        (True, "string", "expected string, got a boolean true"),
        ({"a": 1}, "string", "expected string, got an object"),
        ("5", "integer", 'expected integer, got a string "5"'),
        (True, "integer", "expected integer, got a boolean true"),
        (1.5, "integer", "expected integer, got a number 1.5"),
        (2**63, "integer", "expected integer, got a number 9223372036854775808"),
        (1e300, "integer", "expected integer, got a number 1e+300"),
        ("1.5", "number", 'expected number, got a string "1.5"'),
        (False, "number", "expected number, got a boolean false"),
        (1, "boolean", "expected boolean, got a number 1"),
        ([["a"]], "string", "expected string, got a list"),
        ([1, "a"], "string", "expected string, got a number 1"),
        ("x" * 100, "integer", "expected integer, got a string"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_came(value: Any, kind: str, message: str) -> None:
    with pytest.raises(CastError) as caught:
        cast(value, kind)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 150


def test_a_value_for_one_of_several_types_names_them_all() -> None:
    with pytest.raises(CastError, match="expected objectid or integer, got a string"):
        cast("x", "objectid|integer")


@pytest.mark.parametrize(
    "value",
    [
        {"$gt": 1},
        {"a": {"$where": "x"}},
        [{"$expr": {}}],
        {"a\0b": 1},
        {"a": 2**63},
        [-(2**63) - 1],
    ],
)
def test_free_form_takes_no_operators_zero_characters_and_large_numbers(value: Any) -> None:
    with pytest.raises(CastError, match="without operators, zero characters or numbers beyond 64 bits"):
        cast(value, "any")


@pytest.mark.parametrize("kind", ["any", "string", "objectid"])
@pytest.mark.parametrize("open_", ["list", "dict"])
def test_deep_nesting_is_refused_and_not_recursed_into(kind: str, open_: str) -> None:
    value: Any = 1
    for _ in range(3000):
        value = [value] if open_ == "list" else {"a": value}
    with pytest.raises(CastError):
        cast(value, kind)


def test_a_time_is_given_in_utc() -> None:
    assert parse_time("2026-05-04T23:30:00-02:00") == datetime(2026, 5, 5, 1, 30, tzinfo=UTC)
    assert parse_time("2026-05-04T12:00:00").tzinfo is UTC
