"""`Idempotency-Key` after a failure: what was begun before is begun again, and nothing is doubled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from pymongo.errors import AutoReconnect

from ml.batcher import Batcher
from ml.database.client import database_of
from ml.errors import ModelNotAvailable, StorageUnavailable
from ml.executors.stub import StubExecutor
from ml.idempotency.keys import Keys
from ml.store import Store
from tests.conftest import Api
from tests.integration.idempotent import (
    EACH,
    EPOCH,
    KEY,
    MADE,
    Killed,
    change_key,
    counts,
    the_key,
)
from tests.integration.rest import ROW, URL, Client, stored


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
    assert again.status_code in (200, 201, 202)
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
    assert inputs.json["_items"][0].items() >= {"data": ROW, "_etag": None, "_status": "OK"}.items()
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
