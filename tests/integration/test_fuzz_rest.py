"""Generated bodies, queries and paths on every route: what is right is done, what is wrong changes nothing."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.resources import RESOURCES as TABLE
from ml.database.client import database_of
from ml.database.filters import field_type
from tests.conftest import Api
from tests.integration.hostile import ID, RESOURCES, Client, check, full, stored

__all__ = ["full"]

FUZZ = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

KEYS = st.sampled_from(
    ["data", "model", "tags", "meta", "owner", "where", "inputs", "instances", "outputs", "store", "status", "priority",
     "truth", "note", "aliases", "classes", "version", "alias", "dtype", "shape", "_id", "_etag", "$where", "$set",
     "$or", "a.b", "", "x", "a\0", "timeout_ms", "description", "max_attempts", "webhook"]
)  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from([ID, "sums", "FP32", "BYTES", "UINT64", "queued", "canceled", "none", "2026-01-01", "AAAA", 1, 3])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.fixed_dictionaries({"dtype": inner, "shape": inner, "data": inner})
    ),
    max_leaves=14,
)
FREE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TENSORS = (
    st.lists(NUMBERS, min_size=1, max_size=4)
    | st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(NUMBERS, min_size=n, max_size=n), min_size=1, max_size=3))
    | st.lists(st.text(max_size=4), min_size=1, max_size=3)
    | st.lists(st.booleans(), min_size=1, max_size=70)
    | st.integers(0, 2**64 - 1).map(lambda n: {"dtype": "UINT64", "shape": [1], "data": [n]})
    | st.text(max_size=3)
)
METAS = st.dictionaries(st.text(st.characters(exclude_characters="$.\0"), min_size=1, max_size=3), FREE, max_size=3)
TAGS = st.lists(st.text(min_size=1, max_size=4), max_size=3)
#: Bodies that are right, or nearly.
GOOD: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "inputs": st.fixed_dictionaries(
        {"data": TENSORS | st.dictionaries(st.text("ab", min_size=1), TENSORS, min_size=1, max_size=2)},
        optional={"tags": TAGS, "meta": METAS, "model": st.sampled_from(["sums", "other"])},
    ),
    "input": st.fixed_dictionaries({}, optional={"tags": TAGS, "meta": METAS}),
    "jobs": st.fixed_dictionaries(
        {"model": st.just("sums")},
        optional={
            "inputs": st.just([ID]),
            "version": st.integers(0, 2),
            "alias": st.just("stable"),
            "priority": st.integers(0, 9),
            "where": st.deferred(lambda: filters("inputs")),
            "webhook": st.fixed_dictionaries(
                {
                    "url": st.just("https://a.example/")
                    | st.text("ahtp:/.[]@%0", max_size=12).map("http:".__add__)
                    | VALUES
                },
                optional={"events": st.lists(st.sampled_from(["started", "failed", "x"]), max_size=3) | VALUES},
            ),
        },
    ),
    "job": st.fixed_dictionaries(
        {}, optional={"priority": st.integers(0, 9), "status": st.sampled_from(["queued", "paused", "canceled"])}
    ),
    "result": st.fixed_dictionaries({}, optional={"truth": FREE, "note": st.text(max_size=9)}),
    "model": st.fixed_dictionaries(
        {}, optional={"description": st.none() | st.text(max_size=9), "aliases": TAGS, "classes": TAGS}
    ),
    "predict": st.fixed_dictionaries(
        {"instances": st.lists(st.lists(st.floats(-1e9, 1e9), min_size=3, max_size=3), min_size=1, max_size=3)},
        optional={
            "store": st.sampled_from(["all", "result", "none"]),
            "outputs": st.just(["y"]),
            "meta": st.lists(METAS | st.none(), min_size=1, max_size=3),
        },
    ),
}


def bodies(kind: str) -> st.SearchStrategy[Any]:
    nearly = st.builds(
        lambda good, wrong: {**good, **wrong}, GOOD[kind], st.dictionaries(KEYS, VALUES, min_size=1, max_size=1)
    )
    return GOOD[kind] | st.lists(GOOD[kind], max_size=3) | nearly | VALUES


REQUESTS = st.one_of(
    *(
        st.tuples(st.just(method), st.just(path), bodies(kind))
        for method, path, kind in [
            ("post", "inputs", "inputs"),
            ("post", "jobs", "jobs"),
            ("post", "models/sums/predict", "predict"),
            ("patch", f"inputs/{ID}", "input"),
            ("patch", f"results/{ID}", "result"),
            ("patch", f"jobs/{ID}", "job"),
            ("patch", "models/MODEL", "model"),
        ]
    )
)


@given(request=REQUESTS)
@settings(FUZZ, max_examples=120)
def test_any_body_is_a_success_or_an_error_that_changed_nothing(
    full: Api, client: Client, request: tuple[str, str, Any]
) -> None:
    method, path, body = request
    before = stored(client)
    path = path.replace("MODEL", str(before["models"][0]["_id"]))
    answer = check(
        getattr(full, method)(path, data=json.dumps(body), content_type="application/json", headers={"If-Match": "*"})
    )
    if answer.status_code >= 400:
        assert stored(client) == before
    elif method == "post" and path == "inputs":
        made = answer.json["_items"] if isinstance(body, list) else [answer.json]
        assert database_of(client)["inputs"].count_documents({}) == len(before["inputs"]) + len(made)
    for resource in ("inputs", "results", "jobs", "models"):  # and what was stored can be read
        assert check(full.get(f"{resource}?max_results=1000")).status_code == 200


@given(body=st.binary(max_size=60), path=st.sampled_from(["inputs", "jobs", "models", "models/sums/predict"]),
       kind=st.sampled_from(["application/json", "multipart/form-data; boundary=b", "text/plain", ""]))  # fmt: skip
@FUZZ
def test_any_bytes_are_an_error_that_changed_nothing(
    full: Api, client: Client, body: bytes, path: str, kind: str
) -> None:
    before = stored(client)
    answer = check(full.post(path, data=body, content_type=kind))
    assert answer.status_code in (415, 422)
    assert stored(client) == before


OF_KIND: dict[str, st.SearchStrategy[Any]] = {
    "objectid": st.sampled_from([ID, "0" * 24, "F" * 24]),
    "datetime": st.datetimes().map(lambda time: time.isoformat()),
    "string": st.text(max_size=4) | st.sampled_from(["a", "sums", "queued"]),
    "integer": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3),
    "number": st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "any": st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.floats(-9, 9),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("abc.", max_size=3), inner, max_size=2),
        max_leaves=5,
    ),
}


def conditions(kind: str) -> st.SearchStrategy[Any]:
    """What a field of this kind may be held against."""
    one = st.none() | st.one_of(*(OF_KIND[name] for name in kind.split("|")))
    some = st.lists(one, max_size=3)
    operators: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(("$eq", "$ne", "$gt", "$gte", "$lt", "$lte"), one | some),
        **dict.fromkeys(("$in", "$nin", "$all"), some),
        "$exists": st.booleans(),
        "$size": st.integers(0, 2**31 - 1),
    }
    if "string" in kind or "any" in kind:
        operators["$regex"] = st.text(alphabet="ab.*+?()[]{}|\\^$d1-,=!<", max_size=9).map(lambda text: "^" + text)
    picked = st.lists(st.sampled_from(sorted(operators)), min_size=1, max_size=2, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: operators[name] for name in names})
    )
    return one | picked | picked.map(lambda x: {"$not": x}) | picked.map(lambda x: {"$elemMatch": x})


def filters(resource: str) -> st.SearchStrategy[dict[str, Any]]:
    fields = TABLE[resource].fields() | {"meta.a": "any", "meta.0.b": "any", "data.0": "any", "output.y": "any"}
    known = {name: kind for name, kind in fields.items() if field_type(name, TABLE[resource].fields())}
    leaf = st.lists(st.sampled_from(sorted(known)), max_size=2, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: conditions(known[name]) for name in names})
    )
    return st.recursive(
        leaf,
        lambda inner: st.builds(
            lambda operator, parts: {operator: parts},
            st.sampled_from(["$or", "$and", "$nor"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
        max_leaves=4,
    )


def queries(resource: str) -> st.SearchStrategy[dict[str, str]]:
    names = st.sampled_from(sorted(TABLE[resource].fields()))
    return st.fixed_dictionaries(
        {"where": filters(resource).map(json.dumps)},
        optional={
            "sort": st.lists(names, max_size=3, unique=True).map(lambda fields: ",-".join(fields)),
            "projection": st.dictionaries(names, st.just(0), min_size=1, max_size=3).map(json.dumps)
            | st.dictionaries(names, st.just(1), min_size=1, max_size=3).map(json.dumps),
            "count": st.sampled_from(["true", "false"]),
            "page": st.integers(1, 3).map(str),
            **({"embedded": st.just("{}")} if TABLE[resource].embeddable else {}),
        },
    )


@given(data=st.data(), resource=st.sampled_from(RESOURCES))
@FUZZ
def test_any_query_that_is_understood_is_answered(full: Api, data: st.DataObject, resource: str) -> None:
    query = data.draw(queries(resource))
    answer = check(full.get(resource, query_string=query))
    if answer.status_code == 400:  # a pattern that is none, fields that lie in one another, arrays side by side
        assert answer.json["_issues"].keys() <= {"where", "projection"}
    streamed = {name: value for name, value in query.items() if name not in ("page", "count")}
    stream = check(full.get(resource, query_string=streamed, headers={"Accept": "application/x-ndjson"}))
    if answer.status_code == 200 and query.get("page", "1") == "1" and stream.status_code == 200:
        assert [json.loads(line)["_id"] for line in stream.text.splitlines()] == [
            item["_id"] for item in answer.json["_items"]
        ]


NAMES = st.sampled_from(["where", "sort", "projection", "page", "max_results", "count", "embedded", "pretty", "x"])


@given(query=st.lists(st.tuples(NAMES, VALUES.map(json.dumps) | st.text(max_size=9)), max_size=3),
       resource=st.sampled_from(RESOURCES))  # fmt: skip
@FUZZ
def test_any_query_at_all_is_a_list_or_a_400(full: Api, query: list[tuple[str, str]], resource: str) -> None:
    assert check(full.get(resource, query_string=query)).status_code in (200, 400)
    assert check(full.get(f"{resource}/{ID}", query_string=query)).status_code in (200, 400, 404)


@given(path=st.text(st.characters(exclude_categories=["Cs"]), max_size=30), method=st.sampled_from(["get", "post"]))
@FUZZ
def test_any_path_is_answered(full: Api, path: str, method: str) -> None:
    for base in ("/x", "/api/v1/x", "/api/v1/models/", "/api/v1/inputs/"):
        check(getattr(full, method)(base + quote(path), json={} if method == "post" else None))
