"""`Idempotency-Key` over REST: what is sent twice is done once, and answered as the first time."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect

from ml.database.client import database_of
from ml.idempotency import answers
from ml.idempotency.keys import Keys
from tests.conftest import Api
from tests.integration.idempotent import (
    BATCH,
    EACH,
    EPOCH,
    KEY,
    MADE,
    NPY,
    counts,
    file_form,
    the_key,
)
from tests.integration.rest import ROW, URL, Client, npy, stored


@EACH
def test_the_same_again_gives_the_stored_answer_also_after_a_restart(
    client: Client,
    make_api: Callable[..., Api],
    serve: Callable[..., Any],
    path: str,
    first: dict[str, Any],
    second: dict[str, Any],
    made: dict[str, int],
) -> None:
    serve()
    api = make_api(client)
    told = api.post(path, headers=KEY, **first)
    assert told.status_code in (200, 201, 202), told.json
    assert "Idempotency-Replayed" not in told.headers
    for server in (api, make_api(client)):
        again = server.post(path, headers=KEY, **(second or first))
        assert (again.status_code, again.data) == (told.status_code, told.data)
        assert again.headers["Idempotency-Replayed"] == "true"
        own = ("X-Request-ID", "Idempotency-Replayed")
        assert {k: v for k, v in again.headers.items() if k not in own} == {
            k: v for k, v in told.headers.items() if k not in own
        }
        assert again.headers["X-Request-ID"] != told.headers["X-Request-ID"]
    assert counts(client) == made
    assert api.post(path, **first).status_code == told.status_code
    assert counts(client) == {name: 2 * number for name, number in made.items()}


DIFFERENT: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "another body": (URL, {"json": {"instances": [ROW]}}, {"json": {"instances": [[1, 2, 4]]}}),
    "another query": (URL, {"data": BATCH, **NPY}, {"data": BATCH, **NPY, "query_string": "store=none"}),
    "another type": (URL, {"data": BATCH, **NPY}, {"data": BATCH, "content_type": "application/json"}),
    "another answer": (URL, {"json": {"instances": [ROW]}},
                       {"json": {"instances": [ROW]}, "headers": {"Accept": "application/x-npy"}}),
    "later": (URL, {"json": {"instances": [ROW]}},
              {"json": {"instances": [ROW]}, "headers": {"Prefer": "wait=3, Respond-Async"}}),
    "another file": ("inputs", file_form("one"), file_form("one", content=npy(np.array([1, 2, 4], "f4")))),
    "another field": ("inputs", file_form("one"),
                      {**file_form("one"), "data": file_form("one")["data"].replace(b'["t"]', b'["u"]')}),
    "a file as a field": ("inputs", file_form("one"),
                          {**file_form("one"), "data": file_form("one")["data"].replace(b'; filename="a.png"', b"")}),
    "a list": ("inputs", {"json": {"data": ROW}}, {"json": [{"data": ROW}]}),
    "another job": ("jobs", {"json": {"model": "sums"}}, {"json": {"model": "sums", "priority": 1}}),
}  # fmt: skip


@pytest.mark.parametrize(("path", "first", "second"), DIFFERENT.values(), ids=DIFFERENT)
def test_another_request_under_the_same_key_is_a_conflict(
    api: Api, client: Client, serve: Callable[..., Any], path: str, first: dict[str, Any], second: dict[str, Any]
) -> None:
    serve()
    assert api.post(path, headers=KEY, **first).status_code in (200, 201, 202)
    before = {name: stored(client, name) for name in (*MADE, "idempotency")}
    second = {**second, "headers": {**second.get("headers", {}), **KEY}}
    answer = api.post(path, **second)
    assert answer.status_code == 409
    assert answer.json["_error"] == {
        "code": 409,
        "message": "the key was used for another request to this path: take a new key for a new request",
    }
    assert {name: stored(client, name) for name in (*MADE, "idempotency")} == before


def test_what_changes_nothing_in_the_answer_may_differ(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    first = api.post(URL, json={"instances": [ROW]}, headers=KEY)
    for headers in ({"Accept": "application/json"}, {"User-Agent": "x"}, {"Prefer": "wait=3"}):
        assert api.post(URL, json={"instances": [ROW]}, headers={**headers, **KEY}).data == first.data
    body = {"data": b'{"instances":[[1,2,3]]}', "headers": {"Idempotency-Key": "2"}}
    first = api.post(URL, content_type="application/json", **body)
    assert api.post(URL, content_type="application/json; charset=utf-8", **body).data == first.data
    assert counts(client) == {"inputs": 2, "results": 2}


def test_a_key_is_its_owners_and_its_paths(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    serve(name="other")
    body, told = {"instances": [ROW]}, set()
    for caller in (api, api.as_caller("user:alice"), api.as_caller("user:bob")):
        for path in (URL, "models/sums/versions/1/predict", "models/other/predict"):
            answer = caller.post(path, json=body, headers=KEY)
            assert "Idempotency-Replayed" not in answer.headers
            told.add(answer.json["predictions"][0]["_id"])
        assert caller.post("inputs", json={"data": ROW}, headers=KEY).status_code == 201
    assert len(told) == 9
    owners = [key["owner"] for key in stored(client, "idempotency")]
    assert sorted(owners) == sorted(["admin", "alice", "bob"] * 4)
    assert {owner: owners.count(owner) for owner in owners} == {"admin": 4, "alice": 4, "bob": 4}


def test_what_an_admin_was_told_is_not_told_a_user_with_the_same_owner(api: Api, serve: Callable[..., Any]) -> None:
    serve()
    of_another = api.as_caller("user:bob").post("inputs", json={"data": ROW}).json["_id"]
    body = {"inputs": [of_another]}
    assert api.as_caller("admin:alice").post(URL, json=body, headers=KEY).status_code == 200
    assert api.as_caller("user:alice").post(URL, json=body, headers=KEY).status_code == 409


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "caf\xe9", "\x7f"])
def test_a_key_that_is_none_is_refused(api: Api, client: Client, key: str) -> None:
    for path in ("inputs", "jobs", URL):
        answer = api.post(path, json={"data": ROW}, headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.json["_error"]["code"]) == (400, 400)
        assert "expected 1 to 255 printable ASCII characters, got" in answer.json["_issues"]["Idempotency-Key"]
    assert stored(client, "idempotency") == stored(client, "inputs") == []


@pytest.mark.parametrize("key", ["x", '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "a b", "$$NOW", "$key", "x" * 255])
def test_keys_of_many_forms(api: Api, client: Client, key: str) -> None:
    for _ in range(2):
        assert api.post("inputs", json={"data": ROW}, headers={"Idempotency-Key": key}).status_code == 201
    assert counts(client) == {"inputs": 1}
    assert the_key(client)["key"] == key


def test_elsewhere_the_header_means_nothing(api: Api, client: Client) -> None:
    made = api.post("inputs", json={"data": ROW}).json
    path = f"inputs/{made['_id']}"
    for key in ("k", "", "x" * 300):
        headers = {"Idempotency-Key": key, "If-Match": "*"}
        assert api.get("inputs", headers=headers).status_code == 200
        assert api.get(path, headers={"Idempotency-Key": key}).status_code == 200
        assert api.patch(path, json={"tags": [key[:1] or "none"]}, headers=headers).status_code == 200
        assert api.post("models", headers=headers, json={}).status_code == 415
    assert api.delete(path, headers={"Idempotency-Key": "k", "If-Match": "*"}).status_code == 204
    assert stored(client, "idempotency") == []


def test_a_refused_request_leaves_its_key_free_for_what_is_put_right(
    api: Api, client: Client, serve: Callable[..., Any]
) -> None:
    refused = [
        (URL, {"instances": [ROW]}, 404),
        ("jobs", {"model": "sums"}, 404),
        ("inputs", [{"data": ROW}, {"data": "x", "tags": 3}], 422),
        ("inputs", {"data": ROW, "nothing": 1}, 422),
    ]
    for path, body, status in refused:
        answer = api.post(path, json=body, headers=KEY)
        assert (answer.status_code, answer.json["_error"]["code"]) == (status, status)
        assert stored(client, "idempotency") == []
    serve()
    assert api.post(URL, json={"instances": [[1, 2]]}, headers=KEY).status_code == 422
    assert api.post(URL, json={"instances": [ROW]}, headers=KEY).status_code == 200
    assert api.post("inputs", json={"data": ROW}, headers=KEY).status_code == 201
    assert api.post("jobs", json={"model": "sums"}, headers=KEY).status_code == 201


def test_without_the_database_a_key_promises_nothing(
    api: Api, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    body = {"instances": [ROW], "store": "none"}
    assert api.post(URL, json=body).status_code == 200
    monkeypatch.setattr(Keys, "_claim", lambda *_: (_ for _ in ()).throw(AutoReconnect("gone")))
    answer = api.post(URL, json=body, headers=KEY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert api.post(URL, json=body).status_code == 200


def test_a_day_later_the_key_works_anew_and_makes_new_documents(
    api: Api, client: Client, serve: Callable[..., Any]
) -> None:
    serve()
    sent = [(URL, {"instances": [ROW]}), ("inputs", {"data": ROW}), ("jobs", {"model": "sums"})]
    first = [api.post(path, json=body, headers=KEY) for path, body in sent]
    keys = stored(client, "idempotency")
    left = [key["expires"] - datetime.now(UTC) for key in keys]
    assert all(timedelta(hours=23, minutes=59) < time <= timedelta(hours=24) for time in left)
    # MongoDB has not come round to removing them yet.
    database_of(client)["idempotency"].update_many({}, {"$set": {"expires": EPOCH}})
    for (path, body), before in zip(sent, first, strict=True):
        answer = api.post(path, json=body, headers=KEY)
        assert answer.status_code == before.status_code
        assert "Idempotency-Replayed" not in answer.headers
        assert answer.data != before.data
    assert counts(client) == {"inputs": 4, "results": 2, "jobs": 2}
    database_of(client)["idempotency"].update_many({}, {"$set": {"expires": EPOCH}})
    assert api.post(URL, json={"instances": [[0, 0, 0]]}, headers=KEY).status_code == 200


def test_long_answers_are_kept_in_parts(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(outputs=[{"name": "y", "dtype": "FP64", "shape": [1000]}])
    body = {"instances": [[n, 0, 0] for n in range(3000)], "store": "none"}
    first = api.post(URL, json=body, headers=KEY)
    assert len(first.data) > 17 << 20
    again = api.post(URL, json=body, headers=KEY)
    assert again.data == first.data
    assert again.headers["Idempotency-Replayed"] == "true"
    keys = database_of(client)["idempotency"]
    parts = list(keys.find({"part": {"$exists": True}}))
    assert len(parts) == -(-len(first.data) // answers.PART_BYTES)
    # They go by themselves, and not before their key.
    key = keys.find_one({"key": KEY["Idempotency-Key"]})
    assert key is not None
    assert all(part["expires"] > key["expires"] for part in parts)
    keys.delete_one({"_id": parts[0]["_id"]})
    lost = api.post(URL, json=body, headers=KEY)
    assert (lost.status_code, "parts of the stored answer are gone" in lost.json["_error"]["message"]) == (503, True)


def test_ids_have_the_time_and_the_order_that_ids_have(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    api.post("inputs", json=[{"data": [n, n, n]} for n in range(5)], headers=KEY)
    rows = stored(client, "inputs")
    assert [row["data"] for row in rows] == [[n, n, n] for n in range(5)]
    for row in rows:
        assert abs(row["_id"].generation_time - datetime.now(UTC)) < timedelta(minutes=1)
    assert isinstance(the_key(client)["_id"], ObjectId)


def test_a_file_is_read_from_its_start_after_it_was_compared(api: Api, client: Client) -> None:
    array = np.arange(300_000, dtype="f4")  # more than a form keeps in memory
    answer = api.post("inputs", data={"file": (io.BytesIO(npy(array)), "a.npy")}, headers=KEY)
    assert answer.status_code == 201
    assert answer.json["data"][-1] == 299_999
