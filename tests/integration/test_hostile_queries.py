"""Hostile query strings and headers on every route: never a 5xx, always the one shape, never half a write."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from ml.database.client import database_of
from tests.conftest import Api
from tests.integration.hostile import ID, RESOURCES, Client, check, full, stored

__all__ = ["full"]

WHERE = [
    '"$where"=="sleep(300)||true"',
    "{'$where': 'sleep(300)'}",
    '{"$where": "sleep(300)||true"}',
    '{"$expr": {"$function": {"body": "function(){}", "args": [], "lang": "js"}}}',
    '{"$or": [{"$where": "1"}]}',
    '{"meta": {"$elemMatch": {"$where": "1"}}}',
    '{"owner": {"$not": {"$where": "1"}}}',
    '{"$or": 1}',
    '{"$and": []}',
    '{"$in": 1}',
    '{"owner": {"$in": 1}}',
    '{"$text": {"$search": "a"}}',
    '{"$comment": "x"}',
    '{"$jsonSchema": {}}',
    '{"": 1}',
    '{"a\\u0000b": 1}',
    '{"meta.a\\u0000b": 1}',
    '{"owner": {"$regex": "^(a+)+$"}}',
    '{"owner": {"$regex": "^("}}',
    '{"owner": {"$regex": "^(?{})"}}',
    '{"owner": {"$regex": "^a", "$options": "x"}}',
    '{"owner": 99999999999999999999}',
    '{"meta.x": 99999999999999999999}',
    '{"meta.x": 9223372036854775808}',
    '{"meta.x": 1e999}',
    '{"meta.x": NaN}',
    '{"_id": {"$oid": "65a0c0ffee65a0c0ffee65a0"}}',
    '{"_created": {"$date": 1}}',
    '{"meta": {"$binary": {"base64": "", "subType": "00"}}}',
    '{"_created": "9999-12-31T23:59:59.999999-14:00"}',
    '{"_created": {"$gt": "0001-01-01T00:00:00"}}',
    '{"_created": {"$gt": "0001-01-01T00:00:00+14:00"}}',
    '{"meta.$.a": 1}',
    '{"meta.a.": 1}',
    '{"meta.0.b": "c"}',
    '{"tags": {"$size": 1e10}}',
    '{"tags": {"$size": 9223372036854775807}}',
    '{"tags": {"$all": []}}',
    '{"tags": {"$elemMatch": {"$in": []}}}',
    '{"tags": {"$elemMatch": {"$elemMatch": {"$eq": "a"}}}}',
    '{"tags": {"$not": {"$size": 1}}}',
    '{"meta": {"$not": {"$not": {"$not": {"$eq": 1}}}}}',
    '{"__proto__": 1}',
    "__import__('os').system('x')",
    "[]",
    "null",
    "1",
    "\ud83d\ude00",
    "%",
    "[" * 5000,
    '{"a":' * 5000,
    '{"owner": ' + "[" * 1000 + "]" * 1000 + "}",
    '{"meta": ' + '{"a":' * 900 + "1" + "}" * 901,
    '{"$or": [' * 300 + "{}" + "]}" * 300,
    '{"owner": {"$in": [' + ",".join(['"a"'] * 20000) + "]}}",
]
OTHER = [
    "max_results=inf",
    "max_results=-1",
    "max_results=0",
    "max_results=1e3",
    "max_results=99999999999999999999",
    "page=99999999999999999999",
    "page=0",
    "page=-1",
    "page=1000000000&max_results=1000",
    "page=1000000&max_results=1000",
    "page=%00",
    "sort=%00",
    "sort=$natural",
    "sort=-_id,_id",
    'sort=[["_id",5]]',
    'sort=[["_id",1],["_id",1]]',
    "sort=[(%22_id%22,1)]",
    "sort=" + "(" * 3000,
    "sort=meta.",
    "sort=meta.$a",
    "sort=meta..a",
    "sort=tags,meta.a,meta.b",
    "sort=" + "meta" + ".a" * 300,
    'projection={"_id":0}',
    'projection={"owner":1,"meta":0}',
    'projection={"meta.$":1}',
    'projection={"meta":{"$slice":1}}',
    'projection={"x":{"$function":1}}',
    'projection={"owner":"$_id"}',
    "projection=" + "[" * 3000,
    'projection={"meta":1,"meta.a":1}',
    "projection=" + json.dumps({"meta" + ".a" * 120: 1}),
    'embedded={"owner":1}',
    'embedded={"input.owner":1}',
    "embedded=1",
    "embedded={",
    "aggregate={}",
    "aggregate=%7B%22$where%22:1%7D",
    "show_deleted",
    "version=all",
    "version=diffs",
    "callback=alert",
    "count=2",
    "where",
    "where=",
    "where=%ff%fe",
    "where={}&where={}",
    "pretty=%00",
    "=",
    "&&&",
    "a[]=1",
]


@pytest.mark.parametrize("resource", RESOURCES)
def test_hostile_query_strings(full: Api, client: Client, resource: str) -> None:
    before = stored(client)
    queries = [f"where={quote(where, errors='surrogatepass')}" for where in WHERE] + OTHER
    for query in queries:
        for accept in ("application/json", "application/x-ndjson"):
            answer = check(full.get(f"{resource}?{query}", headers={"Accept": accept}))
            assert answer.status_code in (200, 400), (query, answer.text)
            if answer.status_code == 400:
                assert answer.json["_issues"], query
        assert check(full.get(f"{resource}/{ID}?{query}")).status_code in (200, 400, 404)
        for method in ("post", "patch", "delete"):
            path = resource if method == "post" else f"{resource}/{ID}"
            answer = check(getattr(full, method)(f"{path}?{query}", json={}, headers={"If-Match": "x"}))
            assert answer.status_code >= 400, (method, query)
    assert stored(client) == before


@pytest.mark.parametrize(
    "query",
    [
        'where={"$where": "1"}',
        "max_results=inf",
        "page=99999999999999999999",
        "aggregate={}",
        "sort=$natural",
        "projection=[]",
        'embedded={"owner":1}',
        "callback=x",
        "show_deleted",
    ],
)
def test_a_hostile_query_is_a_400_that_names_the_parameter(full: Api, query: str) -> None:
    answer = check(full.get(f"results?{query}"))
    name = query.partition("=")[0]
    assert answer.status_code == 400
    assert list(answer.json["_issues"]) == [name]
    assert answer.json["_error"]["message"] == f"the query is not understood: {name}"


def test_javascript_never_runs(full: Api, client: Client) -> None:
    """Neither through the API, nor in the mongod that Almanac starts."""
    for where in WHERE[:7]:
        assert full.get("inputs", query_string={"where": where}).status_code == 400
    with pytest.raises(Exception, match="globalScriptEngine"):
        list(database_of(client)["inputs"].find({"$where": "true"}))


HEADERS: list[dict[str, str]] = [
    {"If-Modified-Since": "x"},
    {"If-Modified-Since": ""},
    {"If-Modified-Since": "Xyz, 01 Jan 2020 00:00:00 GMT"},
    {"If-Modified-Since": "Wed, 31 Feb 2020 00:00:00 GMT"},
    {"If-Modified-Since": "Fri, 31 Dec 9999 23:59:59 GMT"},
    {"If-Modified-Since": "Sat, 01 Jan 0001 00:00:00 GMT"},
    {"If-Modified-Since": "Sat, 01 Jan 2000 00:00:60 GMT"},
    {"If-Modified-Since": "1" * 5000},
    {"If-Match": ""},
    {"If-Match": '"'},
    {"If-Match": 'W/"'},
    {"If-Match": "," * 999},
    {"If-Match": "x" * 5000},
    {"If-Match": "é\xff"},
    {"If-None-Match": "*"},
    {"If-None-Match": "x" * 5000},
    {"Accept": "é;q=x,,;"},
    {"Accept": "a/b;q=" + "9" * 4000},
    {"Accept": "application/xml"},
    {"Content-Type": "application/json; charset=utf-7"},
    {"Content-Type": "multipart/form-data"},
    {"Content-Type": "multipart/form-data; boundary="},
    {"Content-Type": "multipart/form-data; boundary=" + "x" * 5000},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {"Content-Type": "é"},
    {"Content-Length": "-1"},
    {"Content-Length": "x"},
    {"Content-Encoding": "gzip"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"X-Request-ID": "é" * 500},
    {"Range": "bytes=0-"},
    {"Host": "evil.example"},
    {"Host": "é é"},
    {"X-Forwarded-Host": "evil.example"},
    {"Origin": "null"},
    {"Cookie": "=" * 500},
    {"Expect": "x"},
]


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: f"{next(iter(headers.items()))!r:.50}")
def test_hostile_headers(full: Api, client: Client, headers: dict[str, str]) -> None:
    before = stored(client)
    for method, path in [
        ("get", "inputs"),
        ("get", f"inputs/{ID}"),
        ("get", f"inputs/{ID}/data"),
        ("get", f"results/{ID}"),
        ("head", "jobs"),
        ("options", "inputs"),
        ("post", "inputs"),
        ("post", "models"),
        ("post", "jobs"),
        ("post", "models/sums/predict"),
        ("patch", f"inputs/{ID}"),
        ("delete", f"inputs/{ID}"),
        ("get", "/health/live"),
    ]:
        check(getattr(full, method)(path, headers=headers, data=b"" if method in ("post", "patch") else None))
    assert stored(client) == before


@pytest.mark.parametrize("value", ["x", "Xyz, 01 Jan 2020 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_time_that_is_none_is_a_400(full: Api, value: str) -> None:
    answer = full.get("inputs", headers={"If-Modified-Since": value})
    assert answer.status_code == 400
    assert answer.json["_issues"] == {"If-Modified-Since": value}
