"""`Idempotency-Key` over REST: what is sent twice is done once, and answered as the first time."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect

from ml.batcher import Batcher
from ml.database.client import database_of
from ml.errors import ModelNotAvailable, StorageUnavailable
from ml.executors.stub import StubExecutor
from ml.idempotency import answers
from ml.idempotency.keys import Keys
from ml.store import Store
from tests.conftest import Api
from tests.integration.rest import ROW, URL, Client, npy, stored
from tests.waiting import until

KEY = {"Idempotency-Key": "order-1"}
MADE = ("inputs", "results", "jobs")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """The process is gone at this point, as far as the database can tell."""


def counts(client: Client) -> dict[str, int]:
    return {name: found for name in MADE if (found := database_of(client)[name].count_documents({}))}


def the_key(client: Client) -> Any:
    (key,) = stored(client, "idempotency")
    return key


def change_key(client: Client, **fields: Any) -> None:
    assert database_of(client)["idempotency"].update_one({}, {"$set": fields}).matched_count == 1


def file_form(boundary: str, name: str = "a.png", *, swapped: bool = False, content: bytes = b"") -> dict[str, Any]:
    """A multipart body with a row as .npy, written out by hand so that the boundary and the order can differ."""
    content = content or npy(np.array(ROW, "f4"))
    file = (
        f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + content
    field = b'Content-Disposition: form-data; name="%s"\r\n\r\n%s'
    parts = [file, field % (b"meta", b'{"a": 1}'), field % (b"tags", b'["t"]')]
    if swapped:
        parts.reverse()
    line = f"--{boundary}".encode()
    body = b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--\r\n"
    return {"data": body, "content_type": f"multipart/form-data; boundary={boundary}"}


def predict_form(boundary: str) -> dict[str, Any]:
    form = file_form(boundary)
    form["data"] = form["data"].replace(b'name="meta"', b'name="store"').replace(b'{"a": 1}', b"all")
    form["data"] = form["data"].replace(b'name="tags"', b'name="resize"').replace(b'["t"]', b"false")
    return form


BATCH = npy(np.array([ROW, ROW], "f4"))
NPY = {"content_type": "application/x-npy"}

#: A path, the same request twice, and what is made by one.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, int]]] = {
    "predict": (URL, {"json": {"instances": [ROW, ROW]}}, {}, {"inputs": 2, "results": 2}),
    "predict of a version": ("models/sums/versions/1/predict", {"json": {"instances": [ROW]}}, {},
                             {"inputs": 1, "results": 1}),
    "predict, results alone": (URL, {"json": {"instances": [ROW], "store": "result"}}, {}, {"results": 1}),
    "predict, nothing stored": (URL, {"json": {"instances": [ROW], "store": "none"}}, {}, {}),
    "predict npy": (URL, {"data": BATCH, **NPY}, {}, {"inputs": 2, "results": 2}),
    "predict files": (URL, predict_form("one"), predict_form("two"), {"inputs": 1, "results": 1}),
    "one input": ("inputs", {"json": {"data": ROW, "tags": ["t"]}}, {}, {"inputs": 1}),
    "inputs": ("inputs", {"json": [{"data": ROW}, {"data": [9, 9, 9]}, {"data": ROW}]}, {}, {"inputs": 3}),
    "a list of one": ("inputs", {"json": [{"data": ROW}]}, {}, {"inputs": 1}),
    "a file": ("inputs", file_form("one"), file_form("two", "b.png", swapped=True), {"inputs": 1}),
    "a job": ("jobs", {"json": {"model": "sums", "where": {"tags": "t"}}}, {}, {"jobs": 1}),
    "jobs": ("jobs", {"json": [{"model": "sums"}, {"model": "sums", "priority": 9}]}, {}, {"jobs": 2}),
}  # fmt: skip
EACH = pytest.mark.parametrize(("path", "first", "second", "made"), CASES.values(), ids=CASES)


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
    assert told.status_code in (200, 201), told.json
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


@EACH
def test_a_run_whose_answer_was_lost_is_run_again_and_doubles_nothing(
    api: Api,
    client: Client,
    serve: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    first: dict[str, Any],
    second: dict[str, Any],
    made: dict[str, int],
) -> None:
    serve()
    answers: list[bytes] = []

    def killed(keys: Keys, claim: Any, answer: Any) -> bool:
        answers.append(answer.body)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Keys, "finish", killed)
        with pytest.raises(Killed):
            api.post(path, headers=KEY, **first)
    assert counts(client) == made
    before = {name: stored(client, name) for name in MADE}
    change_key(client, lease=EPOCH)
    again = api.post(path, headers=KEY, **(second or first))
    assert again.status_code in (200, 201)
    assert "Idempotency-Replayed" not in again.headers
    assert without_times(again.data) == without_times(answers[0])
    assert {name: stored(client, name) for name in MADE} == before
    assert api.post(path, headers=KEY, **first).data == again.data


def without_times(body: bytes) -> Any:
    """An answer without the one thing that a second run measures anew."""
    answer = orjson.loads(body)
    if "predictions" in answer and "_id" not in answer["predictions"][0]:
        del answer["timing"]
    elif "timing" in answer:
        del answer["timing"]["total_ms"]
    return answer


@pytest.mark.parametrize(
    ("path", "body"), [(URL, {"instances": [ROW]}), ("inputs", {"data": ROW}), ("jobs", {"model": "sums"})]
)
def test_two_at_once_are_one_run(
    client: Client,
    make_api: Callable[..., Api],
    serve: Callable[..., Any],
    path: str,
    body: Any,
) -> None:
    serve()
    servers = [make_api(client), make_api(client)]  # as two processes
    told: list[Any] = []
    barrier = threading.Barrier(6)

    def send(server: Api) -> None:
        other = Api(server.http.application.test_client())
        barrier.wait()
        told.append(other.post(path, json=body, headers=KEY))

    threads = [threading.Thread(target=send, args=(servers[n % 2],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(told) == 6
    assert len({answer.data for answer in told}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in told) == 1
    assert set(counts(client).values()) == {1}


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Holds every executor call back until it is set, but for those on zeros, which warm a model up."""
    event = threading.Event()
    real = StubExecutor.run

    def run(executor: StubExecutor, inputs: Any) -> Any:
        assert not np.any(inputs["x"]) or event.wait(30)
        return real(executor, inputs)

    monkeypatch.setattr(StubExecutor, "run", run)
    yield event
    event.set()


def in_background(api: Api, told: list[Any], **kwargs: Any) -> threading.Thread:
    other = Api(api.http.application.test_client())
    thread = threading.Thread(target=lambda: told.append(other.post(URL, **kwargs)))
    thread.start()
    return thread


def test_while_the_first_is_under_way_others_wait_and_are_told_to_come_again_at_the_deadline(
    client: Client, make_api: Callable[..., Api], serve: Callable[..., Any], held: threading.Event
) -> None:
    serve()
    api, body, told = make_api(client), {"instances": [ROW]}, []
    first = in_background(api, told, json=body, headers=KEY)
    until(lambda: stored(client, "idempotency"))
    impatient = make_api(client, deadline_ms=50).post(URL, json=body, headers=KEY)
    assert (impatient.status_code, impatient.headers["Retry-After"]) == (503, "1")
    assert "still being answered" in impatient.json["_error"]["message"]
    # Another body need not wait to be refused.
    assert api.post(URL, json={"instances": [[0, 0, 0]]}, headers=KEY).status_code == 409
    second = in_background(api, told, json=body, headers=KEY)
    held.set()
    for thread in (first, second):
        thread.join(30)
    assert told[0].data == told[1].data
    assert counts(client) == {"inputs": 1, "results": 1}


def test_only_so_many_wait_for_another_and_they_count_as_predictions(
    client: Client,
    make_api: Callable[..., Api],
    serve: Callable[..., Any],
    held: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve()
    waiting: set[int] = set()
    real = Keys.under_way

    def under_way(keys: Keys, pending: Any) -> bool:
        waiting.add(threading.get_ident())
        return real(keys, pending)

    monkeypatch.setattr(Keys, "under_way", under_way)
    api, body, told = make_api(client, threads=16), {"instances": [ROW]}, []
    admission = api.http.application.extensions["service"].admission
    threads = [in_background(api, told, json=body, headers=KEY)]
    until(lambda: stored(client, "idempotency"))
    threads += [in_background(api, told, json=body, headers=KEY) for _ in range(2)]
    until(lambda: len(waiting) == 2 and admission.inside() == 3)  # the first is in its view, two wait
    answer = api.post(URL, json=body, headers=KEY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "2 requests that wait for another with their Idempotency-Key" in answer.json["_error"]["message"]
    held.set()
    for thread in threads:
        thread.join(30)
    assert [answer.status_code for answer in told] == [200] * 3
    assert admission.inside() == 0


def test_a_prediction_that_finds_no_place_claims_nothing(api: Api, client: Client, serve: Callable[..., Any]) -> None:
    serve()
    admission = api.http.application.extensions["service"].admission
    taken = 0
    while admission.refusal() is None:
        admission.take()
        taken += 1
    view = api.http.application.view_functions["predict.default"]
    for send in (
        lambda: api.post(URL, json={"instances": [ROW]}, headers=KEY).status_code,
        lambda: beyond_the_door(api, view),
    ):
        assert send() == 503
        assert stored(client, "idempotency") == []
    for _ in range(taken):
        admission.give()
    assert api.post(URL, json={"instances": [ROW]}, headers=KEY).status_code == 200


def beyond_the_door(api: Api, view: Callable[..., Any]) -> int:
    """The status where the last place is taken between the door and the view."""
    from flask import g

    from api.auth.caller import Caller

    app = api.http.application
    with app.test_request_context(f"/api/v1/{URL}", method="POST", json={"instances": [ROW]}, headers=KEY):
        g.caller = Caller("admin", "admin")
        try:
            view(name="sums")
        except Exception as error:  # noqa: BLE001
            return int(app.make_response(app.handle_user_exception(error)).status_code)
    return 200


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
    assert api.post(path, headers=KEY, **first).status_code in (200, 201)
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


def test_what_could_not_be_stored_may_be_sent_again_at_once_and_is_stored_once(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst of it: all was stored, and the client was told that it was not."""
    serve()
    real = Store._commit

    def commit(store: Store, slots: Any) -> None:
        real(store, slots)
        raise AutoReconnect("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_commit", commit)
        assert api.post(URL, json={"instances": [ROW, ROW]}, headers=KEY).status_code == 503
    assert (the_key(client)["state"], "lease" in the_key(client)) == ("pending", False)
    assert api.post(URL, json={"instances": [[0, 0, 0]]}, headers=KEY).status_code == 409
    answer = api.post(URL, json={"instances": [ROW, ROW]}, headers=KEY)
    assert answer.status_code == 200
    assert [str(r["_id"]) for r in stored(client, "results")] == [p["_id"] for p in answer.json["predictions"]]
    assert counts(client) == {"inputs": 2, "results": 2}


def test_nothing_of_a_prediction_that_timed_out_is_doubled(
    api: Api, client: Client, serve: Callable[..., Any], held: threading.Event
) -> None:
    serve()
    body = {"instances": [ROW], "timeout_ms": 200}
    assert api.post(URL, json=body, headers=KEY).status_code == 504
    held.set()  # the rows may yet be stored, before or after what comes now
    assert api.post(URL, json=body, headers=KEY).status_code == 200
    api.http.application.extensions["service"].registry.close()
    api.http.application.extensions["service"].store.close()
    assert counts(client) == {"inputs": 1, "results": 1}


def test_rows_on_which_the_model_failed_are_computed_again(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()

    def fail(*_: Any) -> Any:
        raise ValueError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(StubExecutor, "run", fail)
        assert api.post(URL, json={"instances": [ROW, ROW]}, headers=KEY).status_code == 500
    assert {result["status"] for result in stored(client, "results")} == {"failed"}
    answer = api.post(URL, json={"instances": [ROW, ROW]}, headers=KEY)
    assert answer.status_code == 200
    assert {result["status"] for result in stored(client, "results")} == {"succeeded"}
    assert counts(client) == {"inputs": 2, "results": 2}
    assert api.post(URL, json={"instances": [ROW, ROW]}, headers=KEY).data == answer.data


def test_a_rerun_is_answered_by_what_was_stored_though_the_name_means_another_version_now(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(classes=["low", "high"])
    body = {"instances": [[0.1, 0.2, 0.3], ROW], "outputs": ["y"]}
    with monkeypatch.context() as patch:
        patch.setattr(Keys, "finish", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            api.post(URL, json=body, headers=KEY)
    serve(version=2, add=100.0, classes=["low", "high"])
    api.http.application.extensions["service"].registry.refresh()
    fresh = api.post("models/sums/versions/1/predict", json=body).json["predictions"]
    assert api.post(URL, json=body).json["version"] == 2
    change_key(client, lease=EPOCH)
    again = api.post(URL, json=body, headers=KEY).json
    assert again["version"] == 1
    keep = ("output", "label", "score")
    assert [{k: p[k] for k in keep} for p in again["predictions"]] == [{k: p[k] for k in keep} for p in fresh]


def test_a_model_that_is_unloaded_between_does_not_change_the_ids(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    real, calls = Batcher.submit, []

    def submit(batcher: Batcher, slot: Any) -> None:
        calls.append(slot)
        if len(calls) == 1:
            raise ModelNotAvailable("unloaded")
        real(batcher, slot)

    monkeypatch.setattr(Batcher, "submit", submit)
    answer = api.post(URL, json={"instances": [ROW]}, headers=KEY).json["predictions"][0]
    assert len(calls) == 2
    assert answer["input"] == str(the_key(client)["first"])
    assert [str(row["_id"]) for row in stored(client, "results")] == [answer["_id"]]


def test_a_rerun_of_a_part_computes_the_rest_and_answers_what_is_stored(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    body = {"instances": [ROW, [0, 0, 0]]}
    with monkeypatch.context() as patch:
        patch.setattr(Keys, "finish", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            api.post(URL, json=body, headers=KEY)
    db = database_of(client)
    last = stored(client, "results")[-1]["_id"]
    db["results"].delete_one({"_id": last})
    db["inputs"].delete_one({"_id": stored(client, "inputs")[0]["_id"]})
    serve(version=2, add=100.0)
    api.http.application.extensions["service"].registry.refresh()
    change_key(client, lease=EPOCH)
    again = api.post(URL, json=body, headers=KEY).json
    assert [p["output"] for p in again["predictions"]] == [[106.0, 107.0], [100.0, 101.0]]
    assert [r["output"]["y"] for r in stored(client, "results")] == [[106.0, 107.0], [100.0, 101.0]]
    assert [str(r["_id"]) for r in stored(client, "results")] == [p["_id"] for p in again["predictions"]]
    assert counts(client) == {"inputs": 2, "results": 2}


def test_a_rerun_of_inputs_and_jobs_asks_nothing_that_may_have_changed(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is gone, one of the inputs was deleted, the job has ended: they were made, and it says so."""
    serve()
    sent = [("inputs", [{"data": ROW}, {"data": [0, 0, 0], "tags": ["t"]}]), ("jobs", {"model": "sums"})]
    with monkeypatch.context() as patch:
        patch.setattr(Keys, "finish", lambda *_: (_ for _ in ()).throw(Killed()))
        for path, body in sent:
            with pytest.raises(Killed):
                api.post(path, json=body, headers=KEY)
    db = database_of(client)
    gone, left = (row["_id"] for row in stored(client, "inputs"))
    db["inputs"].delete_one({"_id": gone})
    db["jobs"].update_one({}, {"$set": {"status": "succeeded"}})
    db["models"].update_one({}, {"$set": {"state": "retired"}})
    api.http.application.extensions["service"].registry.refresh()
    db["idempotency"].update_many({}, {"$set": {"lease": EPOCH}})
    inputs = api.post("inputs", json=sent[0][1], headers=KEY)
    assert inputs.status_code == 201
    assert [row["_id"] for row in inputs.json["_items"]] == [str(gone), str(left)]
    assert inputs.json["_items"][1] == {**api.get(f"inputs/{left}").json, "_status": "OK"}
    job = api.post("jobs", json=sent[1][1], headers=KEY)
    assert (job.status_code, job.json["status"]) == (201, "succeeded")
    assert job.json == {**api.get(f"jobs/{job.json['_id']}").json, "_status": "OK"}
    assert job.headers["Location"].endswith(f"/api/v1/jobs/{job.json['_id']}")
    assert counts(client) == {"inputs": 1, "jobs": 1}


@pytest.mark.parametrize(("path", "body"), [("inputs", [{"data": ROW}, {"data": ROW}]), ("jobs", {"model": "sums"})])
def test_a_run_that_was_taken_for_dead_and_was_quicker_is_the_one_that_counts(
    api: Api,
    client: Client,
    serve: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    body: Any,
) -> None:
    """Two runs under one key at the same time: the second finds its documents stored when it writes them."""
    serve()
    with monkeypatch.context() as patch:
        patch.setattr(Keys, "finish", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            api.post(path, json=body, headers=KEY)
    before = stored(client, path)
    change_key(client, lease=EPOCH, runs=0)  # so that it does not look before it writes
    answer = api.post(path, json=body, headers=KEY)
    assert answer.status_code == 201
    items = answer.json.get("_items", [answer.json])
    assert [row["_id"] for row in items] == [str(row["_id"]) for row in before]
    assert stored(client, path) == before


def test_a_run_that_lost_its_key_answers_what_the_other_answered(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    body, told = {"instances": [ROW], "store": "none"}, []
    real = Keys.finish

    def late(keys: Keys, claim: Any, answer: Any) -> bool:
        monkeypatch.setattr(Keys, "finish", real)
        keys.drop(claim)
        change_key(client, lease=EPOCH)
        told.append(api.post(URL, json=body, headers=KEY))  # takes over, and is done first
        return real(keys, claim, answer)

    monkeypatch.setattr(Keys, "finish", late)
    answer = Api(api.http.application.test_client()).post(URL, json=body, headers=KEY)
    assert answer.data == told[0].data
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in told[0].headers


def test_whatever_becomes_of_a_request_its_lease_is_renewed_no_longer(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    renewal = api.http.application.extensions["service"].keys._renewal
    held: list[int] = []

    def finish(error: BaseException | None) -> Callable[..., bool]:
        def finished(*_: Any) -> bool:
            held.append(len(renewal._held))
            if error is not None:
                raise error
            return True

        return finished

    for number, error in enumerate((None, AutoReconnect("gone"), Killed())):
        monkeypatch.setattr(Keys, "finish", finish(error))
        with contextlib.suppress(Killed):
            api.post(URL, json={"instances": [ROW]}, headers={"Idempotency-Key": str(number)})
        assert (len(held), renewal._held) == (number + 1, {})
    assert held == [1, 1, 1]
    api.post(URL, json={"instances": []}, headers=KEY)
    assert renewal._held == {}


def test_an_answer_that_could_not_be_kept_is_not_given(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    with monkeypatch.context() as patch:
        patch.setattr(Keys, "finish", lambda *_: (_ for _ in ()).throw(AutoReconnect("gone")))
        answer = api.post(URL, json={"instances": [ROW]}, headers=KEY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "could not be kept (AutoReconnect): send it again" in answer.json["_error"]["message"]
    change_key(client, lease=EPOCH)
    assert api.post(URL, json={"instances": [ROW]}, headers=KEY).status_code == 200
    assert counts(client) == {"inputs": 1, "results": 1}


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


def test_an_error_of_the_service_within_is_told_as_without_a_key(
    api: Api, client: Client, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    service = api.http.application.extensions["service"]
    for error, status in ((StorageUnavailable("away"), 503), (RuntimeError("a defect"), 500)):
        with monkeypatch.context() as patch:
            patch.setattr(service, "predict", lambda *_, error=error: (_ for _ in ()).throw(error))
            told = [api.post(URL, json={"instances": [ROW]}, headers=headers) for headers in ({}, KEY)]
        assert [answer.status_code for answer in told] == [status, status]
        assert told[0].json.keys() == told[1].json.keys()
    assert api.post(URL, json={"instances": [ROW]}, headers=KEY).status_code == 200


def test_a_file_is_read_from_its_start_after_it_was_compared(api: Api, client: Client) -> None:
    array = np.arange(300_000, dtype="f4")  # more than a form keeps in memory
    answer = api.post("inputs", data={"file": (io.BytesIO(npy(array)), "a.npy")}, headers=KEY)
    assert answer.status_code == 201
    assert answer.json["data"][-1] == 299_999
