"""JSON as Almanac writes it, whatever a document holds."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import bson
import numpy as np
import pytest
from bson import Decimal128, ObjectId
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.regex import Regex
from bson.timestamp import Timestamp

from api.render import dumps, loads, time

HEX = "65a0c0ffee65a0c0ffee65a0"


def shown(value: Any) -> Any:
    return json.loads(dumps({"v": value}))["v"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 5, 4, 12, 30, 1, 5000, UTC), "2026-05-04T12:30:01.005Z"),
        (datetime(2026, 5, 4, 12, 30, 1, 999999, UTC), "2026-05-04T12:30:01.999Z"),
        (datetime(2026, 5, 4, 12), "2026-05-04T12:00:00.000Z"),
        (datetime(2026, 5, 4, 12, tzinfo=timezone(timedelta(hours=2))), "2026-05-04T10:00:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_iso_8601_in_utc_with_milliseconds(value: datetime, expected: str) -> None:
    assert shown(value) == expected
    assert time(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ObjectId(HEX), HEX),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        ([1.5, math.nan], [1.5, None]),
        (0.1, 0.1),
        (2**63 - 1, 2**63 - 1),
        (Int64(5), 5),
        (Decimal128("1.50"), "1.50"),
        (Binary(b"ab"), "ab"),
        (Binary(b"\xff"), "\ufffd"),
        (Binary.from_uuid(uuid.UUID(int=5)), str(uuid.UUID(int=5))),
        (Binary(b"x", 4), "x"),
        (uuid.UUID(int=5), str(uuid.UUID(int=5))),
        (Regex("a"), "<Regex>"),
        (Code("f()"), "f()"),
        (MinKey(), "<MinKey>"),
        (MaxKey(), "<MaxKey>"),
        (Timestamp(1, 2), "<Timestamp>"),
        (DBRef("a", 1), "<DBRef>"),
        (DatetimeMS(2**60), "<DatetimeMS>"),
        ({"a", "b"} - {"b"}, ["a"]),
        ((1, 2), [1, 2]),
        (None, None),
        (True, True),
    ],
)
def test_everything_that_a_document_holds_has_a_form(value: Any, expected: Any) -> None:
    assert shown(value) == expected


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.array([0.1, 1e30], "f4"), b"[0.1,1e+30]"),
        (np.array([0.5, math.nan, math.inf], "f4"), b"[0.5,null,null]"),
        (np.array([0.5], "f2"), b"[0.5]"),
        (np.array([0.1]), b"[0.1]"),
        (np.array([[1, 2]], "i1"), b"[[1,2]]"),
        (np.array([2**64 - 1], "u8"), b"[18446744073709551615]"),
        (np.array([True]), b"[true]"),
        (np.array([b"a", b"\xff"], object), '["a","\ufffd"]'.encode()),
        (np.arange(6, dtype="f4").reshape(2, 3).T, b"[[0.0,3.0],[1.0,4.0],[2.0,5.0]]"),
        (np.array(1.5, "f4"), b"1.5"),
        (np.float32(0.1), b"0.1"),
        (np.float16(0.5), b"0.5"),
        (np.int64(5), b"5"),
        (np.bool_(True), b"true"),
        (np.float32("nan"), b"null"),
    ],
)
def test_arrays_have_the_digits_of_their_own_type(array: Any, text: bytes) -> None:
    assert dumps(array) == text + b"\n"


def test_what_was_read_from_the_database_is_written() -> None:
    document = {"a": {"b": [Int64(1), Decimal128("2"), Binary(b"\0\xff", 128)]}, "5": Regex("x", "i")}
    assert json.loads(dumps(bson.decode(bson.encode(document)))) == {"a": {"b": [1, "2", "\0\ufffd"]}, "5": "<Regex>"}


def test_pretty() -> None:
    assert dumps({"a": [1]}, pretty=True) == b'{\n  "a": [\n    1\n  ]\n}\n'


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '"\\ud800"', "'a'", "{a: 1}", "[1,]", "", "1e999", "\ufeff1"])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)
