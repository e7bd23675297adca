"""The query string of a resource: what it means, and a 400 that names every parameter which is not understood."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from api.errors import ApiError
from api.query import Query, parse_query
from api.resources import RESOURCES

HEX = "65a0c0ffee65a0c0ffee65a0"


def parse(resource: str = "results", *, item: bool = False, **args: str) -> Query:
    return parse_query(MultiDict(args), RESOURCES[resource], item=item)


def issues(resource: str = "results", *, item: bool = False, **args: str) -> dict[str, Any]:
    with pytest.raises(ApiError) as caught:
        parse(resource, item=item, **args)
    assert caught.value.code == 400
    assert all(name in caught.value.message for name in caught.value.issues)
    return caught.value.issues


def test_without_parameters() -> None:
    assert parse() == Query(where={}, sort=[], projection=None, page=1, max_results=25, count=False, embedded=[])


def test_every_parameter() -> None:
    query = parse(
        where=json.dumps({"input": HEX, "meta.a": {"$gt": 1}}),
        sort="-_created, label",
        projection='{"label": 1, "meta.a": true}',
        page="3",
        max_results="1000",
        count="true",
        embedded='{"input": 1, "job": 0}',
        pretty="",
    )
    assert query.where == {"input": ObjectId(HEX), "meta.a": {"$gt": 1}}
    assert query.sort == [("_created", -1), ("label", 1)]
    assert query.projection == {"label": True, "meta.a": True}
    assert (query.page, query.max_results, query.skip, query.count) == (3, 1000, 2000, True)
    assert query.embedded == ["input"]
    assert query.shown == {"label", "meta"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("label", [("label", 1)]),
        ("-label", [("label", -1)]),
        ('[["label", -1], ["_id", 1]]', [("label", -1), ("_id", 1)]),
        ("meta.a.b", [("meta.a.b", 1)]),
    ],
)
def test_sorting(text: str, expected: list[tuple[str, int]]) -> None:
    assert parse(sort=text).sort == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope", "no such field: 'nope'; there are _created"),
        ("-", "no such field: ''"),
        ("--label", "no such field: '-label'"),
        ("$natural", "no such field: '$natural'"),
        ("label.x", "no such field: 'label.x'"),
        ("meta.", "no such field: 'meta.'"),
        ("meta.$a", "no such field: 'meta.$a'"),
        ("label,-label", "a field is named twice"),
        (",".join(f"meta.f{i}" for i in range(9)), "expected at most 8 fields, got 9"),
        ('[["label", 5]]', "expected fields as in"),
        ('[["label"]]', "expected fields as in"),
        ('["label"]', "expected fields as in"),
        ("[[5, 1]]", "expected fields as in"),
        ("[", "not JSON"),
        ('[("label", 1)]', "not JSON"),
        ('[["$natural", 1]]', "no such field"),
        ("__import__('os')", "no such field"),
    ],
)
def test_a_wrong_sort(text: str, message: str) -> None:
    assert message in issues(sort=text)["sort"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{}", "expected fields to show"),
        ("[]", "expected fields to show"),
        ('{"label": 2}', "expected fields to show"),
        ('{"label": {"$slice": 1}}', "expected fields to show"),
        ('{"label": "$owner"}', "expected fields to show"),
        ('{"nope": 1}', "no such field: 'nope'"),
        ('{"meta.$": 1}', "no such field: 'meta.$'"),
        ('{"$where": 1}', "no such field"),
        ('{"": 1}', "no such field: ''"),
        ('{"label": 1, "score": 0}', "expected either only 1 or only 0"),
        ('{"meta": 1, "meta.a": 1}', "a field is named together with one below it"),
        ('{"fence": 1}', "no such field: 'fence'"),
    ],
)
def test_a_wrong_projection(text: str, message: str) -> None:
    assert message in issues(projection=text)["projection"]


def test_an_id_may_be_named_in_either_projection() -> None:
    assert parse(projection='{"label": 1, "_id": 0}').projection == {"label": True, "_id": False}
    assert parse(projection='{"label": 0, "meta.a": 0, "_id": 1}').hidden == {"label", "meta.a"}


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "1001", "inf", "nan", "1e2", "1.0", "0x10", " 5", "+5", "٣", "²", "", "ten", "9" * 40, "9" * 5000],
)
def test_a_wrong_page_size(text: str) -> None:
    assert "expected a whole number from 1 to 1000, got" in issues(max_results=text)["max_results"]
    assert len(issues(max_results=text)["max_results"]) < 100


@pytest.mark.parametrize("text", ["0", "-1", "inf", "99999999999999999999", "1.5", "", "one"])
def test_a_wrong_page(text: str) -> None:
    assert "expected a whole number from 1 to 1000000000, got" in issues(page=text)["page"]


def test_a_page_that_is_too_far_out() -> None:
    assert "expected page * max_results up to" in issues(page="1000000000", max_results="1000")["page"]
    assert parse(page="1000000", max_results="1000").skip == 999_999_000


@pytest.mark.parametrize("text", ["yes", "", "TRUE", "2"])
def test_a_wrong_flag(text: str) -> None:
    assert issues(count=text) == {"count": f"expected true or false, got {text}"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model": 1}', "model cannot be embedded; fields that can: input, job"),
        ('{"input.owner": 1}', "input.owner cannot be embedded"),
        ('["input"]', "expected an object"),
        ('{"input": "1"}', "expected an object"),
        ("input", "not JSON"),
    ],
)
def test_a_wrong_embedding(text: str, message: str) -> None:
    assert message in issues(embedded=text)["embedded"]


def test_where_nothing_can_be_embedded() -> None:
    assert issues("jobs", embedded="{}")["embedded"].startswith("no such parameter; there are count, max_results")


def test_every_wrong_parameter_is_named_at_once() -> None:
    found = issues(where='{"$where": "1"}', sort="x", page="0", agregate="1", count="maybe")
    assert set(found) == {"where", "sort", "page", "agregate", "count"}
    assert found["agregate"].startswith("no such parameter; there are count, embedded, max_results")


@pytest.mark.parametrize("name", ["aggregate", "show_deleted", "version", "callback", "filter", "where[]", "WHERE"])
def test_parameters_that_do_not_exist(name: str) -> None:
    assert set(issues(**{name: "1"})) == {name}


def test_a_parameter_given_twice() -> None:
    with pytest.raises(ApiError) as caught:
        parse_query(MultiDict([("page", "1"), ("page", "2")]), RESOURCES["inputs"], item=False)
    assert caught.value.issues == {"page": "given 2 times"}


@pytest.mark.parametrize("name", ["where", "sort", "page", "max_results", "count"])
def test_a_document_has_no_list_parameters(name: str) -> None:
    assert set(issues(item=True, **{name: "1"})) == {name}
    assert parse(item=True, projection='{"label": 1}').projection == {"label": True}


def test_fields_have_the_types_of_their_schemas() -> None:
    fields = {name: resource.fields() for name, resource in RESOURCES.items()}
    assert fields["results"]["input"] == "objectid"
    assert fields["results"]["timing.batch"] == "integer"
    assert fields["results"]["meta"] == "any"
    assert fields["results"]["truth"] == "string|number|boolean|any"
    assert fields["jobs"]["inputs"] == "objectid"
    assert fields["jobs"]["progress.done"] == "integer"
    assert fields["jobs"]["ended"] == "datetime"
    assert fields["models"]["inputs"] == "any"
    assert fields["models"]["classes"] == "string"
    assert all(table["_id"] == "objectid" and table["_created"] == "datetime" for table in fields.values())


NAMES = st.sampled_from(["where", "sort", "projection", "page", "max_results", "count", "embedded", "pretty", "x"])
TEXTS = st.text(max_size=20) | st.sampled_from(
    ["[]", "{}", '{"label":1}', '[["label",1]]', "1e5", '{"$or":[]}', "null"]
)


@given(pairs=st.lists(st.tuples(NAMES, TEXTS), max_size=4), name=st.sampled_from(list(RESOURCES)), item=st.booleans())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_query_string_is_a_query_or_a_400(pairs: list[tuple[str, str]], name: str, item: bool) -> None:
    try:
        query = parse_query(MultiDict(pairs), RESOURCES[name], item=item)
    except ApiError as error:
        code, wrong = error.code, error.issues
        assert code == 400
        assert wrong
    else:
        assert 1 <= query.max_results <= 1000
