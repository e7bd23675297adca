"""Entity tags and stamps: who may write what, whoever wrote it last and with whatever program."""

from __future__ import annotations

import json
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import eve.utils
import pytest
from bson import ObjectId

from ml.database.client import database_of
from tests.conftest import Api
from tests.integration.rest import NDJSON, TIME, Client


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
    changed = api.patch(f"inputs/{made['_id']}", json={"tags": ["x"]}, headers={"If-Match": form.format(made["_etag"])})
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
        answer = http.patch(f"inputs/{made['_id']}", json={"tags": [str(number)]}, headers={"If-Match": made["_etag"]})
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
