"""What Eve, its parts and MongoDB do by themselves and must not do here: tags, stamps, overrides, garbage of others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import eve.utils
import flask_pymongo
import pymongo
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
from pymongo import MongoClient

from api.hooks import hook
from ml.database.client import database_of
from tests.conftest import Api

Client = MongoClient[dict[str, Any]]
NDJSON = {"Accept": "application/x-ndjson"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")


@pytest.fixture
def inputs(client: Client) -> Any:
    return database_of(client)["inputs"]


# Entity tags ---------------------------------------------------------------------------------------------------------


def test_writes_need_the_tag(api: Api) -> None:
    made = api.post("inputs", json={"data": [1]}).json
    path, body = f"inputs/{made['_id']}", {"tags": ["x"]}
    for headers in ({}, {"If-Match": ""}):
        answer = api.patch(path, json=body, headers=headers)
        assert (answer.status_code, answer.json["_error"]["message"]) == (
            428,
            "If-Match is needed: the document's _etag, or *",
        )
        assert api.delete(path, headers=headers).status_code == 428
    for stale in ("x", '"x"', f"{made['_etag']}x", "derived-x"):
        answer = api.patch(path, json=body, headers={"If-Match": stale})
        assert (answer.status_code, answer.json["_error"]["message"]) == (
            412,
            "the document is no longer what If-Match names",
        )
        assert api.delete(path, headers={"If-Match": stale}).status_code == 412
    assert api.get(path).json == {k: v for k, v in made.items() if k != "_status"}


@pytest.mark.parametrize("form", ["{}", '"{}"', 'W/"{}"', '"other", "{}"', "{},other", "*", " * "])
def test_the_ways_in_which_a_tag_may_be_written(api: Api, form: str) -> None:
    made = api.post("inputs", json={"data": [1]}).json
    changed = api.patch(
        f"inputs/{made['_id']}", json={"tags": ["x"]}, headers={"If-Match": form.format(made["_etag"])}
    )
    assert (changed.status_code, changed.json["tags"]) == (200, ["x"])
    deleted = api.delete(f"inputs/{made['_id']}", headers={"If-Match": form.format(changed.json["_etag"])})
    assert deleted.status_code == 204


def test_of_writes_at_the_same_time_with_one_tag_one_wins(api: Api) -> None:
    made = api.post("inputs", json={"data": [1]}).json
    codes: list[int] = []
    gate = threading.Barrier(8)

    def change(number: int) -> None:
        http = Api(api.http.application.test_client())
        gate.wait()
        answer = http.patch(
            f"inputs/{made['_id']}", json={"tags": [str(number)]}, headers={"If-Match": made["_etag"]}
        )
        codes.append(answer.status_code)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [412] * 7


def test_a_star_is_right_whatever_others_do_meanwhile(api: Api, inputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another client writes between Eve's read and the write, three times."""
    data = api.http.application.data
    read, left = data.find_one, [3]

    def find_one(*args: Any, **kwargs: Any) -> Any:
        found = read(*args, **kwargs)
        if left[0]:
            left[0] -= 1
            inputs.update_one({}, {"$set": {"model": "m", "_etag": uuid.uuid4().hex}})
        return found

    monkeypatch.setattr(data, "find_one", find_one)
    made = api.post("inputs", json={"data": [1]}).json
    path = f"inputs/{made['_id']}"
    answer = api.patch(path, json={"tags": ["x"]}, headers={"If-Match": "*"})
    assert (answer.status_code, answer.json["tags"], answer.json["model"]) == (200, ["x"], "m")
    left[0] = 1
    assert api.patch(path, json={"tags": ["y"]}, headers={"If-Match": answer.json["_etag"]}).status_code == 412
    assert api.get(path).json["tags"] == ["x"]
    left[0] = 3
    assert api.delete(path, headers={"If-Match": "*"}).status_code == 204
    assert inputs.count_documents({}) == 0


def test_what_another_client_inserted_has_a_tag_too(api: Api, inputs: Any) -> None:
    document = {"data": [1.0, 2.0], "meta": {"when": datetime(2026, 1, 1, tzinfo=UTC), "n": float("nan")}}
    for where_from in ("item", "list", "stream", "header"):
        id_ = inputs.insert_one(dict(document)).inserted_id
        path = f"inputs/{id_}"
        read = api.get(path)
        etag = {
            "item": read.json["_etag"],
            "header": read.headers["ETag"],
            "list": next(i["_etag"] for i in api.get("inputs").json["_items"] if i["_id"] == str(id_)),
            "stream": json.loads(api.get("inputs?sort=-_id", headers=NDJSON).text.splitlines()[0])["_etag"],
        }[where_from]
        assert api.get(path).headers["ETag"] == read.headers["ETag"]
        assert api.patch(path, json={"tags": ["x"]}, headers={"If-Match": "other"}).status_code == 412
        changed = api.patch(path, json={"tags": ["x"]}, headers={"If-Match": etag})
        assert changed.status_code == 200
        assert changed.json["_etag"] != read.json["_etag"]
        assert api.patch(path, json={"tags": ["y"]}, headers={"If-Match": etag}).status_code == 412
        other = inputs.insert_one(dict(document)).inserted_id
        etag = api.get(f"inputs/{other}").json["_etag"]
        assert api.delete(f"inputs/{other}", headers={"If-Match": etag}).status_code == 204


def test_what_another_client_changed_is_no_longer_what_was_read(api: Api, inputs: Any) -> None:
    made = api.post("inputs", json={"data": [1], "tags": ["a"]}).json
    path = f"inputs/{made['_id']}"
    inputs.update_one({}, {"$set": {"tags": ["b"]}, "$unset": {"_etag": ""}})
    for write in (lambda: api.patch(path, json={"tags": []}, headers={"If-Match": made["_etag"]}),
                  lambda: api.delete(path, headers={"If-Match": made["_etag"]})):  # fmt: skip
        assert write().status_code == 412
    first = api.get(path).json
    assert (first["tags"], first["_etag"] != made["_etag"]) == (["b"], True)
    inputs.update_one({}, {"$set": {"tags": ["c"]}})
    assert api.patch(path, json={"tags": []}, headers={"If-Match": first["_etag"]}).status_code == 412
    assert api.patch(path, json={"tags": []}, headers={"If-Match": api.get(path).json["_etag"]}).status_code == 200


def test_a_part_of_a_document_has_the_tag_of_the_whole(api: Api, inputs: Any) -> None:
    path = f"inputs/{inputs.insert_one({'data': [1], 'tags': ['a']}).inserted_id}"
    whole = api.get(path).json["_etag"]
    part = api.get(path, query_string={"projection": '{"tags": 1}'})
    assert (part.json["_etag"], part.headers["ETag"]) == (whole, f'"{whole}"')
    # In a list it would take every document as a whole to tell.
    assert api.get("inputs", query_string={"projection": '{"tags": 1}'}).json["_items"][0]["_etag"] is None


@pytest.mark.parametrize("stored", [5, None, "", "a b", 'a"b', "a\nb", "a\r\nX-Evil: 1", "x" * 200, ["a"], "é", "a,b"])
def test_a_tag_of_another_program_that_is_none(api: Api, inputs: Any, stored: Any) -> None:
    path = f"inputs/{inputs.insert_one({'data': [1], '_etag': stored}).inserted_id}"
    read = api.get(path)
    assert read.status_code == 200
    assert "X-Evil" not in read.headers
    assert read.json["_etag"].startswith("derived-")
    assert api.get("inputs").json["_items"][0]["_etag"] == read.json["_etag"]
    assert api.patch(path, json={"tags": ["x"]}, headers={"If-Match": read.json["_etag"]}).status_code == 200
    assert api.get(path).json["tags"] == ["x"]


def test_a_tag_that_was_given_and_stored_by_another_program_is_one(api: Api, inputs: Any) -> None:
    path = f"inputs/{inputs.insert_one({'data': [1]}).inserted_id}"
    inputs.update_one({}, {"$set": {"_etag": api.get(path).json["_etag"]}})
    etag = api.get(path).json["_etag"]
    assert api.patch(path, json={"tags": ["x"]}, headers={"If-Match": etag}).status_code == 200


def test_no_tensor_is_ever_digested(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eve dumps what it makes a tag of as JSON; a tensor of 8 MB among it would cost more than all else."""
    dumped: list[str] = []
    dumps = eve.utils.dumps

    def spy(value: Any, **kwargs: Any) -> str:
        text: str = dumps(value, **kwargs)
        dumped.append(text)
        return text

    monkeypatch.setattr(eve.utils, "dumps", spy)
    made = api.post("inputs", json={"data": [987654321] * 2000}).json
    path = f"inputs/{made['_id']}"
    api.get(path)
    api.get("inputs")
    changed = api.patch(path, json={"tags": ["x"]}, headers={"If-Match": made["_etag"]}).json
    assert api.delete(path, headers={"If-Match": changed["_etag"]}).status_code == 204
    assert dumped
    assert all("data" not in text and len(text) < 300 for text in dumped)


def test_what_is_known_already_is_not_sent_again(api: Api, inputs: Any) -> None:
    made = api.post("inputs", json={"data": [1]}).json
    path = f"inputs/{made['_id']}"
    answer = api.get(path, headers={"If-None-Match": f'"{made["_etag"]}"'})
    assert (answer.status_code, answer.data) == (304, b"")
    assert api.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    # By time alone it cannot be told: several changes fall in one second.
    for stale in (made["_updated"], "2100-01-01T00:00:00.000Z"):
        when = datetime.fromisoformat(stale).strftime("%a, %d %b %Y %H:%M:%S GMT")
        assert api.get(path, headers={"If-Modified-Since": when}).status_code == 200


def test_an_embedded_document_is_never_stale(api: Api, client: Client) -> None:
    db = database_of(client)
    input_ = db["inputs"].insert_one({"data": [1], "tags": ["old"]}).inserted_id
    result = db["results"].insert_one({"input": input_, "_etag": "e1"}).inserted_id
    path = f"results/{result}?embedded=%7B%22input%22:1%7D"
    assert api.get(path).headers["ETag"] == '"e1"'
    db["inputs"].update_one({}, {"$set": {"tags": ["new"]}})
    answer = api.get(path, headers={"If-None-Match": '"e1"'})
    assert (answer.status_code, answer.json["input"]["tags"]) == (200, ["new"])
    assert api.get(f"results/{result}", headers={"If-None-Match": '"e1"'}).status_code == 304


# Stamps --------------------------------------------------------------------------------------------------------------


def test_times_have_milliseconds_and_a_zone_everywhere(api: Api, client: Client) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    made = api.post("inputs", json={"data": [1]}).json
    changed = api.patch(f"inputs/{made['_id']}", json={"tags": []}, headers={"If-Match": made["_etag"]}).json
    database_of(client)["inputs"].insert_one({"data": 1, "meta": {"at": datetime(2026, 1, 2, 3, 4, 5, 6789, UTC)}})
    shown = [made, changed, *api.get("inputs").json["_items"]]
    shown += [json.loads(line) for line in api.get("inputs", headers=NDJSON).text.splitlines()]
    for document in shown:
        assert TIME.match(document["_created"])
        assert TIME.match(document["_updated"])
    assert shown[-1]["meta"] == {"at": "2026-01-02T03:04:05.006Z"}
    assert before <= datetime.fromisoformat(made["_created"]) <= datetime.now(UTC)
    assert changed["_updated"] >= made["_updated"]
    # To the millisecond, as stored: Eve would cut it to the second.
    stored = database_of(client)["inputs"].find_one({"_id": ObjectId(made["_id"])})
    assert stored is not None
    assert stored["_created"] == datetime.fromisoformat(made["_created"])


# What is on by default -----------------------------------------------------------------------------------------------


def test_the_method_cannot_be_overridden(api: Api, inputs: Any) -> None:
    path = f"inputs/{api.post('inputs', json={'data': [1]}).json['_id']}"
    for method in ("PATCH", "DELETE", "PUT"):
        for name in ("X-HTTP-Method-Override", "X-Http-Method", "X-Method-Override"):
            answer = api.post(path, json={"tags": ["x"]}, headers={name: method, "If-Match": "*"})
            assert (answer.status_code, answer.json["_error"]["message"]) == (405, "POST is not allowed here")
            assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}
        assert api.post(f"{path}?_method={method}", json={}, headers={"If-Match": "*"}).status_code == 405
    assert inputs.count_documents({"tags": {"$exists": False}}) == 1


@pytest.mark.parametrize("resource", ["models", "inputs", "results", "jobs"])
def test_collections_are_not_deleted_and_documents_not_put(api: Api, inputs: Any, resource: str) -> None:
    inputs.insert_one({"data": [1]})
    for method, path in (("delete", resource), ("patch", resource), ("put", resource), ("put", f"{resource}/{'0' * 24}")):
        answer = getattr(api, method)(path, json={}, headers={"If-Match": "*"})
        assert (answer.status_code, answer.json["_error"]["code"]) == (405, 405)
        assert "GET" in answer.headers["Allow"]
    assert inputs.count_documents({}) == 1


def test_there_is_json_alone(api: Api) -> None:
    made = api.post("inputs", json={"data": [1]}).json
    for accept in ("application/xml", "text/xml", "text/html", "application/javascript", "*/*"):
        for path in ("inputs", f"inputs/{made['_id']}", "/api/v1/"):
            answer = api.get(path, headers={"Accept": accept})
            assert (answer.status_code, answer.mimetype) == (200, "application/json")
            json.loads(answer.data)


def test_other_origins_are_given_nothing(api: Api) -> None:
    for method in ("get", "options"):
        answer = getattr(api, method)("inputs", headers={"Origin": "https://evil.example"})
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]


def test_extended_json_is_json(api: Api, inputs: Any) -> None:
    """Flask-PyMongo's provider would make an ObjectId, a date or bytes of these."""
    for value in ({"$oid": "0" * 24}, {"$date": 0}, {"$binary": {"base64": "", "subType": "00"}}, {"$numberLong": "1"}):
        assert api.post("inputs", json={"data": [1], "meta": {"a": value}}).status_code == 422
        assert api.post("inputs", json={"data": value}).status_code == 422
    assert inputs.count_documents({}) == 0
    made = api.post("inputs", json={"data": [1], "meta": {"a": "0" * 24, "b": "2026-01-01T00:00:00Z"}}).json
    stored = inputs.find_one({"_id": ObjectId(made["_id"])})
    assert stored["meta"] == {"a": "0" * 24, "b": "2026-01-01T00:00:00Z"}


def test_there_is_one_client(client: Client, make_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a second client was made")

    monkeypatch.setattr(pymongo.MongoClient, "__init__", refuse)
    monkeypatch.setattr(flask_pymongo.wrappers.MongoClient, "__init__", refuse)
    app = make_api(client).http.application
    assert app.data.pymongo("inputs").cx is client
    assert app.extensions["pymongo"].cx is client
    assert make_api(client).get("inputs").status_code == 200


def test_no_settings_file_is_looked_for(tmp_path: Path) -> None:
    """Eve would walk all of sys.path for a settings.py, and run it."""
    (tmp_path / "settings.py").write_text("raise SystemExit('the wrong settings.py was run')\n")
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import mongomock
from api import create_app
from settings import Settings
mongomock.Database.with_options = lambda database, **_: database
create_app(Settings(data_dir={str(tmp_path)!r}, _env_file=None), mongomock.MongoClient())
"""
    program = tmp_path / "main.py"
    program.write_text(code)
    environment = {"EVE_SETTINGS": str(tmp_path / "settings.py"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_an_app_builds_no_index(client: Client, make_api: Callable[..., Api]) -> None:
    """That is done in one place, once, before any app is made."""
    app = make_api(client).http.application
    assert not any(entry.get("mongo_indexes") for entry in app.config["DOMAIN"].values())


def test_nothing_is_unique_by_a_query_alone(api: Api) -> None:
    def rules(schema: Any) -> Any:
        for name, rule in schema.items():
            yield name, rule
            if isinstance(rule, dict) and isinstance(rule.get("schema"), dict):
                yield from rules(rule["schema"])

    for entry in api.http.application.config["DOMAIN"].values():
        assert not [name for name, rule in rules(entry["schema"]) if "unique" in rule or name.startswith("unique")]


def test_a_misspelled_hook_is_refused(api: Api) -> None:
    app = api.http.application
    for event in ("on_fetched_resorce", "on_insert_input", "on_Insert", ""):
        with pytest.raises(ValueError, match="Eve has no event"):
            hook(app, event, lambda *_: None)
    called = []
    hook(app, "on_post_GET", lambda *args: called.append(args[0]))
    api.get("inputs")
    assert called == ["inputs"]


def test_aggregation_is_not_exposed(api: Api, inputs: Any) -> None:
    inputs.insert_one({"data": [1]})
    for name in ("aggregate", "aggregation"):
        answer = api.get("inputs", query_string={name: '{"$match": {}}'})
        assert (answer.status_code, list(answer.json["_issues"])) == (400, [name])
    assert not any(e["datasource"].get("aggregation") for e in api.http.application.config["DOMAIN"].values())


# What other programs write -------------------------------------------------------------------------------------------

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
    {"data": [1], "tags": 5, "owner": ["a"], "model": {"a": 1}, "source": 5, "meta": [1]},
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


@pytest.mark.parametrize("resource", ["models", "results", "jobs"])
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
