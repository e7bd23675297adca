"""Filters that clients write: an allow list of operators at every depth, values cast by the field, clear refusals."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.database.filters import OPERATORS, FilterError, check_filter, field_type, names_field, parse_filter

HEX = "65a0c0ffee65a0c0ffee65a0"
FIELDS = {
    "_id": "objectid",
    "_created": "datetime",
    "name": "string",
    "tags": "string",
    "size": "integer",
    "score": "number",
    "done": "boolean",
    "meta": "any",
    "truth": "string|number|boolean|any",
    "progress": "any",
    "progress.done": "integer",
}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({}, {}),
        ({"name": "a"}, {"name": "a"}),
        ({"name": None}, {"name": None}),
        ({"_id": HEX}, {"_id": ObjectId(HEX)}),
        ({"_id": {"$in": [HEX]}}, {"_id": {"$in": [ObjectId(HEX)]}}),
        ({"_created": {"$gte": "2026-01-01"}}, {"_created": {"$gte": datetime(2026, 1, 1, tzinfo=UTC)}}),
        ({"size": {"$gt": 1, "$lte": 5.0}}, {"size": {"$gt": 1, "$lte": 5}}),
        ({"done": {"$ne": True}}, {"done": {"$ne": True}}),
        ({"name": {"$nin": ["a", None]}}, {"name": {"$nin": ["a", None]}}),
        ({"tags": {"$all": ["a", "b"]}}, {"tags": {"$all": ["a", "b"]}}),
        ({"tags": {"$size": 2}}, {"tags": {"$size": 2}}),
        ({"tags": {"$elemMatch": {"$eq": "a"}}}, {"tags": {"$elemMatch": {"$eq": "a"}}}),
        ({"name": {"$exists": False}}, {"name": {"$exists": False}}),
        ({"name": {"$regex": "^a.*z"}}, {"name": {"$regex": "^a.*z"}}),
        ({"name": {"$not": {"$regex": "^a"}}}, {"name": {"$not": {"$regex": "^a"}}}),
        ({"size": {"$not": {"$gt": 5}}}, {"size": {"$not": {"$gt": 5}}}),
        ({"meta.when": "2026-01-01"}, {"meta.when": "2026-01-01"}),
        ({"meta.ref": HEX}, {"meta.ref": HEX}),
        ({"meta": {"a": 1}}, {"meta": {"a": 1}}),
        ({"meta.list": {"$elemMatch": {"a": {"$gt": 1}}}}, {"meta.list": {"$elemMatch": {"a": {"$gt": 1}}}}),
        ({"progress.done": {"$gt": 1}}, {"progress.done": {"$gt": 1}}),
        ({"truth": "a"}, {"truth": "a"}),
        (
            {"$or": [{"name": "a"}, {"$and": [{"_id": HEX}, {"$nor": [{"size": 1}]}]}]},
            {"$or": [{"name": "a"}, {"$and": [{"_id": ObjectId(HEX)}, {"$nor": [{"size": 1}]}]}]},
        ),
    ],
)
def test_a_filter_is_cast_by_its_fields(given_: dict[str, Any], expected: dict[str, Any]) -> None:
    assert parse_filter(json.dumps(given_), FIELDS) == expected
    assert check_filter(given_, FIELDS) == expected


FORBIDDEN = [
    "$where",
    "$expr",
    "$jsonSchema",
    "$text",
    "$comment",
    "$function",
    "$near",
    "$mod",
    "$type",
    "$bitsAllSet",
]


@pytest.mark.parametrize("operator", FORBIDDEN)
@pytest.mark.parametrize(
    "shape",
    [
        lambda o: {o: "1"},
        lambda o: {"$or": [{"name": "a"}, {o: "1"}]},
        lambda o: {"$and": [{"$nor": [{o: "1"}]}]},
        lambda o: {"name": {o: "1"}},
        lambda o: {"name": {"$eq": "a", o: "1"}},
        lambda o: {"name": {"$not": {o: "1"}}},
        lambda o: {"tags": {"$elemMatch": {o: "1"}}},
        lambda o: {"meta.a": {"$elemMatch": {"b": {o: "1"}}}},
        lambda o: {"meta": {"a": {o: "1"}}},
        lambda o: {"meta": {"$eq": {o: "1"}}},
        lambda o: {"meta": {"$in": [{o: "1"}]}},
        lambda o: {"truth": {"$in": [[{o: "1"}]]}},
    ],
)
def test_an_operator_that_is_not_on_the_list_is_refused_at_every_depth(operator: str, shape: Any) -> None:
    with pytest.raises(FilterError, match=r"operator|expected string or number or boolean or any"):
        check_filter(shape(operator), FIELDS)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ([], "expected an object, got a list"),
        ("x", "expected an object, got a string"),
        ({"nme": 1}, "nme: no such field; there are _created, _id, done"),
        ({"": 1}, "no such field"),
        ({"name\0": 1}, "no such field"),
        ({"name.first": 1}, "name.first: no such field"),
        ({"meta.": 1}, "meta.: no such field"),
        ({"meta..a": 1}, "meta..a: no such field"),
        ({".meta": 1}, ".meta: no such field"),
        ({"meta.$where": 1}, "meta.$where: no such field"),
        ({"meta." + ".".join("a" * 60): 1}, "no such field"),
        ({"$or": 1}, "$or: expected a list of one or more objects"),
        ({"$or": []}, "$or: expected a list of one or more objects"),
        ({"$and": [1]}, "$and: expected a list of one or more objects"),
        ({"$nor": {"name": "a"}}, "$nor: expected a list of one or more objects"),
        ({"name": {"$in": 1}}, "name.$in: expected a list, got a number"),
        ({"name": {"$in": ["a", 1]}}, "name.$in[1]: expected string, got a number 1"),
        ({"name": {"$exists": 1}}, "name.$exists: expected true or false, got a number"),
        ({"tags": {"$size": -1}}, "tags.$size: expected a number from 0"),
        ({"tags": {"$size": True}}, "tags.$size: expected a whole number, got a boolean"),
        ({"tags": {"$size": 2**40}}, "tags.$size: expected a number from 0"),
        ({"name": {"$regex": "a"}}, "name.$regex: expected a pattern that begins with ^"),
        ({"name": {"$regex": "^" + "a" * 100}}, "at most 100 characters"),
        ({"name": {"$regex": 5}}, "name.$regex: expected a string, got a number"),
        ({"name": {"$regex": "^a\0"}}, "name.$regex: a pattern may not hold a zero character"),
        ({"size": {"$regex": "^1"}}, "size.$regex: the field is integer, not a string"),
        ({"name": {"$not": "a"}}, "name.$not: expected an object of operators"),
        ({"name": {"$not": {}}}, "name.$not: expected an object of operators"),
        ({"tags": {"$elemMatch": {}}}, "tags.$elemMatch: expected an object with one or more conditions"),
        ({"tags": {"$elemMatch": []}}, "tags.$elemMatch: expected an object with one or more conditions"),
        ({"size": "5"}, 'size: expected integer, got a string "5"'),
        ({"$or": [{"name": "a"}, {"size": "5"}]}, "$or[1].size: expected integer"),
        ({"_id": "x"}, "_id: expected objectid, got a string"),
        ({"_created": {"$gt": "soon"}}, "_created.$gt: expected datetime"),
        ({"size": 2**64}, "size: expected integer"),
        ({"name": {"a": 1}}, "name: expected string, got an object"),
        ({"name": {"$eq": "a", "b": 1}}, "name.b: the operator is not one of"),
    ],
)
def test_a_refusal_says_where_and_what_was_expected(given_: Any, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        check_filter(given_, FIELDS)
    assert message in str(caught.value)


def test_what_is_not_json_is_refused() -> None:
    for text in ("", "{", "name == 'a'", "{'name': 'a'}", '{"name": NaN}', b'{"name": "\xff"}'):
        with pytest.raises(FilterError, match="not JSON"):
            parse_filter(text, FIELDS)


def _nested(levels: int, wrap: Any) -> Any:
    value: Any = {"name": "a"}
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap",
    [lambda v: {"$or": [v]}, lambda v: {"meta": {"$not": v if "$not" in v else {"$eq": 1}}}, lambda v: {"meta": v}],
)
def test_nesting_is_limited(wrap: Any) -> None:
    check_filter(_nested(1, wrap), FIELDS)
    with pytest.raises(FilterError):
        check_filter(_nested(3000, lambda v: {"$or": [v]}), FIELDS)
    with pytest.raises(FilterError):
        check_filter({"meta": _nested(3000, lambda v: {"a": v})}, FIELDS)
    condition: Any = {"$eq": 1}
    for _ in range(3000):
        condition = {"$not": condition}
    with pytest.raises(FilterError, match="deep"):
        check_filter({"meta": condition}, FIELDS)


def test_the_answer_shares_nothing_with_what_was_given() -> None:
    given_: dict[str, Any] = {"meta": {"a": [1]}, "$or": [{"tags": {"$in": ["a"]}}]}
    result = check_filter(given_, FIELDS)
    given_["meta"]["a"].append(2)
    given_["$or"][0]["tags"]["$in"].append("b")
    assert result == {"meta": {"a": [1]}, "$or": [{"tags": {"$in": ["a"]}}]}


def test_whether_a_filter_names_a_field() -> None:
    assert names_field({"source": "predict"}, "source")
    assert names_field({"$or": [{"name": "a"}, {"$and": [{"source": {"$exists": True}}]}]}, "source")
    assert names_field({"source.x": 1}, "source")
    assert not names_field({"name": "source", "sources": 1}, "source")
    assert not names_field({"$or": [{"name": {"$eq": "source"}}]}, "source")


def test_the_type_of_what_lies_below_a_free_form_field() -> None:
    assert field_type("meta.a.b", FIELDS) == "any"
    assert field_type("progress.done", FIELDS) == "integer"
    assert field_type("size.a", FIELDS) is None


KEYS = st.sampled_from([*sorted(OPERATORS), *FORBIDDEN, *FIELDS, "", "$", "meta.a", "meta.$x", "a\0b"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just(HEX)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | set().union(*map(_keys, value.values()), set())
    return set().union(*map(_keys, value), set()) if isinstance(value, list) else set()


@given(value=st.dictionaries(KEYS, JSON, max_size=3) | JSON)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_json_is_a_filter_of_allowed_operators_or_is_refused(value: Any) -> None:
    try:
        result = check_filter(value, FIELDS)
    except FilterError as error:
        reason = str(error)
        assert reason
        return
    assert {key for key in _keys(result) if key.startswith("$")} <= OPERATORS
