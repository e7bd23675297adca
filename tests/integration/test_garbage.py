"""Documents of other programs, with anything in them: listed, read, changed and deleted all the same."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Decimal128, ObjectId
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.raw_bson import RawBSONDocument
from bson.regex import Regex
from bson.timestamp import Timestamp

from ml.database.client import database_of
from tests.conftest import Api
from tests.integration.rest import NDJSON, TIME, Client

pytestmark = pytest.mark.shown_as_stored

GARBAGE: list[dict[str, Any]] = [
    {"data": None},
    {"data": [float("nan"), float("inf")]},
    {"data": {"dtype": "FP32", "shape": 5, "data": b"1"}},
    {"data": {"dtype": "FP32", "shape": [2**40], "data": b"1"}},
    {"data": {"dtype": "FP32", "shape": [1] * 70, "data": b"1234"}},
    {"data": {"dtype": "FP32", "shape": [], "data": b"1234"}},
    {"data": {"dtype": "BYTES", "shape": [2**30, 2**30], "data": b""}},
    {"data": {"dtype": ["FP32"], "shape": {"a": 1}, "data": Regex("x")}},
    {"data": {"dtype": "FP32", "shape": [1], "data": Binary(b"\x27", 9)}},
    {"data": {"dtype": "UINT64", "shape": [1], "data": b"\xff" * 8}},
    {"data": {"dtype": "FP16", "shape": [2], "data": b"\0\x7c\0\x7e"}},
    {"data": {"a": {"b": {"c": {"dtype": "x", "shape": [], "data": 1}}}}},
    {"data": [[1] * 600, [1] * 601]},
    {"data": [1], "tags": 5, "owner": {"a": [1]}, "model": {"a": 1}, "source": 5, "meta": [1]},
    {"data": [1], "_created": "yesterday", "_updated": 5},
    {"data": [1], "_created": DatetimeMS(2**60), "_updated": DatetimeMS(-(2**60))},
    {"data": [1], "_updated": datetime(1, 1, 1, tzinfo=UTC)},
    {"data": Int64(2**62), "meta": {"i": Int64(-(2**63)), "d": Decimal128("NaN"), "e": Decimal128("1E+6000")}},
    {"data": Binary(b"\xff\0", 128), "meta": {"u": Binary(b"x", 4), "v": Binary.from_uuid(uuid.uuid4()), "b": b"\xff"}},
    {"data": [MinKey(), MaxKey(), Timestamp(1, 2), Regex("^a", "i"), Code("f()"), Code("f()", {"a": 1})]},
    {"data": [bson.DBRef("inputs", 1)], "meta": {"": 1, "$where": 1, "a.b": 2, "\x01": ObjectId()}},
    {"data": [1], "nope": 1, "_links": 1, "_status": "x", "_items": [], "_meta": 5, "_error": {"code": 500}},
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda g: repr(g)[:60])
def test_garbage_of_other_programs_never_breaks_anything(api: Api, inputs: Any, garbage: dict[str, Any]) -> None:
    good = api.post("inputs", json={"data": [1]}).json["_id"]
    id_ = str(inputs.insert_one(dict(garbage)).inserted_id)
    for query in ("", "?count=true&sort=-meta", "?projection=%7B%22data%22:1%7D", "?projection=%7B%22meta%22:0%7D"):
        listed = api.get(f"inputs{query}")
        assert listed.status_code == 200, listed.text
        assert {item["_id"] for item in listed.json["_items"]} == {good, id_}
    (item,) = (i for i in api.get("inputs").json["_items"] if i["_id"] == id_)
    assert TIME.match(item["_created"])
    assert TIME.match(item["_updated"])
    assert not {"nope", "_links", "_items", "_meta", "_error"} & item.keys()
    streamed = [json.loads(line) for line in api.get("inputs", headers=NDJSON).text.splitlines()]
    assert [document["_id"] for document in streamed] == [good, id_]
    path = f"inputs/{id_}"
    assert api.get(path).json["_etag"] == item["_etag"]
    assert api.get(f"{path}/data").status_code in (200, 400, 422)
    assert api.post("models/none/predict", json={"inputs": [id_]}).status_code == 404
    changed = api.patch(path, json={"tags": ["x"]}, headers={"If-Match": item["_etag"]})
    assert (changed.status_code, changed.json["tags"]) == (200, ["x"])
    assert api.delete(path, headers={"If-Match": changed.json["_etag"]}).status_code == 204


def test_what_an_index_refuses_is_no_fault_of_the_server(api: Api, inputs: Any) -> None:
    id_ = inputs.insert_one({"data": [1], "owner": ["a", "b"]}).inserted_id
    answer = api.patch(f"inputs/{id_}", json={"tags": ["x"]}, headers={"If-Match": "*"})
    assert (answer.status_code, answer.json["_error"]["message"]) == (400, "the document cannot be stored")
    assert "parallel arrays" in answer.json["_issues"]["body"]


@pytest.mark.parametrize("resource", ["models", "results", "jobs", "deliveries"])
def test_garbage_in_the_other_collections(api: Api, client: Client, resource: str) -> None:
    odd: list[Any] = [
        {}, {"_id": 5}, {"_id": "x"}, {"_id": {"a": 1}}, {"status": 5, "state": [1], "progress": "x", "timing": 5},
        {"output": 5, "score": Decimal128("1"), "input": 5, "job": [1], "inputs": 5, "outputs": {"a": 1}},
        {"output": {"y": {"dtype": 5, "shape": 5, "data": 5}}, "where": {"$where": "1"}, "classes": 5, "build": []},
        {"started": "x", "ended": 5, "_created": [], "truth": {"a": MinKey()}, "error": 5, "version": Int64(2**60)},
    ]  # fmt: skip
    # `name` and `version` of models are unique.
    documents = [{"name": f"n{number}", "version": number, **document} for number, document in enumerate(odd)]
    database_of(client)[resource].insert_many(documents)
    listed = api.get(f"{resource}?count=true")
    assert (listed.status_code, listed.json["_meta"]["total"]) == (200, len(odd))
    assert len(api.get(resource, headers=NDJSON).text.splitlines()) == len(odd)
    for item in listed.json["_items"]:
        if isinstance(item["_id"], str) and len(item["_id"]) == 24:
            read = api.get(f"{resource}/{item['_id']}")
            assert (read.status_code, read.json["_etag"]) == (200, item["_etag"])
    if resource == "results":
        assert api.get(resource, query_string={"embedded": '{"input": 1, "job": 1}'}).status_code == 200


def test_garbage_among_the_models_stops_no_other_model(api: Api, client: Client, stub: Callable[..., Any]) -> None:
    stub(client)
    db = database_of(client)
    for number, odd in enumerate(({}, {"state": "available"}, {"name": 5}, {"name": "sums", "state": 5})):
        db["models"].insert_one({"name": f"n{number}", "version": f"v{number}", **odd})
    db["registry"].insert_many([{"_id": "a"}, {"_id": "b", "aliases": 5}, {"_id": 5}])
    answer = api.post("models/sums/predict", json={"instances": [[1, 2, 3]]})
    assert (answer.status_code, answer.json["version"]) == (200, 1)
    assert api.post("models/n0/predict", json={"instances": [[1]]}).status_code == 404
    assert api.post("inputs", json={"data": [1, 2], "model": "n1"}).status_code == 201


def test_a_string_that_is_not_utf_8_is_shown_all_the_same(api: Api, inputs: Any) -> None:
    raw = bson.encode({"_id": ObjectId(), "data": [1], "model": "QQQ"}).replace(b"QQQ", b"a\xffb")
    inputs.insert_one(RawBSONDocument(raw))
    assert api.get("inputs").json["_items"][0]["model"] == "a\ufffdb"


def test_a_64_bit_number_keeps_its_digits(api: Api, inputs: Any) -> None:
    inputs.insert_one({"data": [Int64(2**63 - 1)], "meta": {"n": Int64(-(2**63))}})
    item = api.get("inputs").json["_items"][0]
    assert (item["data"], item["meta"]) == ([2**63 - 1], {"n": -(2**63)})
    found = api.get("inputs", query_string={"where": json.dumps({"meta.n": -(2**63)})}).json["_items"]
    assert len(found) == 1
