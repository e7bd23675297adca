"""Predict with `Prefer: respond-async`: the rows and a job over them are stored together, the job has the answer."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bson import ObjectId
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure

from api import predict_request
from ml.database.client import database_of
from ml.jobs import predictions
from ml.jobs.worker import Worker
from ml.service import Claim, Prediction, Service
from tests.conftest import ADMIN_KEY, Api
from tests.integration.rest import ROW, URL, Client, nothing_stored, npy, stored

LATER = {"Prefer": "respond-async"}


@pytest.fixture
def service(api: Api) -> Service:
    made: Service = api.http.application.extensions["service"]
    return made


def work(service: Service) -> None:
    Worker(service.db, service.registry, threading.Event()).run_pending()


def results(client: Client) -> dict[str, Any]:
    """By the id of the input."""
    return {str(result["input"]): result for result in stored(client, "results")}


@pytest.mark.parametrize(
    ("url", "asked"),
    [(URL, None), ("models/sums/versions/1/predict", None), ("models/sums/aliases/old/predict", "old")],
)
def test_the_rows_are_stored_and_a_job_over_them_gives_the_results(
    api: Api, client: Client, serve: Any, service: Service, url: str, asked: Any
) -> None:
    serve(version=1, classes=["low", "high"], aliases={"old": 1, "stable": 1})
    serve(version=2, add=100.0, aliases={"old": 1, "stable": 1})
    rows = [[1, 2, float(i)] for i in range(20)]
    meta = [{"k": i} if i % 2 else None for i in range(20)]
    alice = api.as_caller("user:alice")
    answer = alice.post(
        url, json={"instances": rows, "meta": meta, "store": "all"}, headers={**LATER, "X-Request-ID": "order-1"}
    )
    assert answer.status_code == 202, answer.text
    job = answer.json
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.headers["Location"] == f"/api/v1/jobs/{job['_id']}"
    assert job.pop("_status") == "OK"
    assert alice.get(answer.headers["Location"]).json == job
    assert answer.headers["ETag"] == f'"{job["_etag"]}"'
    assert (job["model"], job["version"], job["status"], job["owner"]) == ("sums", 1, "queued", "alice")
    assert job["request"] == "order-1"
    assert "where" not in job
    assert alice.get(f"inputs/{job['inputs'][0]}").json["source"] == "predict"
    for row, id_ in enumerate(job["inputs"]):
        document = alice.get(f"inputs/{id_}").json
        assert (document["data"], document.get("meta")) == (rows[row], meta[row])
        assert (document["model"], document["owner"], document["source"]) == ("sums", "alice", "predict")
    assert len(stored(client, "inputs")) == 20
    assert not stored(client, "results")

    work(service)
    ended = alice.get(f"jobs/{job['_id']}").json
    assert (ended["status"], ended["progress"]["done"], ended["progress"]["failed"]) == ("succeeded", 20, 0)
    found = results(client)
    assert set(found) == set(job["inputs"])
    for row, id_ in enumerate(job["inputs"]):
        result = found[id_]
        assert result["output"] == {"y": [3.0 + row, 4.0 + row]}
        assert (result["owner"], result["request"], result.get("meta")) == ("alice", "order-1", meta[row])
        assert (result["version"], str(result["job"]), result["label"]) == (1, job["_id"], "high")


def test_stored_inputs_are_scored_where_they_are(api: Api, client: Client, serve: Any, service: Service) -> None:
    serve()
    ids = [item["_id"] for item in api.post("inputs", json=[{"data": ROW, "meta": {"k": 1}}] * 3).json["_items"]]
    wanted = [ids[2], ids[0]]
    for store in ({}, {"store": "all"}, {"store": "result"}):
        answer = api.post(URL, json={"inputs": wanted, **store}, headers=LATER)
        assert (answer.status_code, answer.json["inputs"]) == (202, wanted)
    assert len(stored(client, "inputs")) == 3
    work(service)
    assert sorted(str(result["input"]) for result in stored(client, "results")) == sorted(wanted * 3)
    alice = api.as_caller("user:alice")
    refused = alice.post(URL, json={"inputs": wanted}, headers=LATER)
    assert (refused.status_code, refused.json["_issues"].keys()) == (404, {"inputs[0]", "inputs[1]"})


def test_arrays_and_files_are_rows_too(api: Api, client: Client, serve: Any, service: Service) -> None:
    serve()
    batch = np.arange(6, dtype="f4").reshape(2, 3)
    answers = [
        api.post(URL, data=npy(batch), content_type="application/x-npy", headers=LATER),
        api.post(URL, data={"file": [(io.BytesIO(npy(row)), "row.npy") for row in batch]}, headers=LATER),
    ]
    for answer in answers:
        assert answer.status_code == 202, answer.text
        documents = [api.get(f"inputs/{id_}").json["data"] for id_ in answer.json["inputs"]]
        assert documents == batch.tolist()
    work(service)
    assert len(results(client)) == 4


def test_a_row_of_many_values_and_many_inputs(api: Api, client: Client, serve: Any, service: Service) -> None:
    specs = [{"name": "a", "dtype": "FP32", "shape": [100]}, {"name": "b", "dtype": "BYTES", "shape": []}]
    serve(inputs=specs)
    rows = [{"a": [float(i)] * 100, "b": f"text {i}"} for i in range(3)]
    answer = api.post(URL, json={"instances": rows}, headers=LATER)
    assert answer.status_code == 202, answer.text
    assert [api.get(f"inputs/{id_}").json["data"] for id_ in answer.json["inputs"]] == rows


@pytest.mark.parametrize(
    ("body", "issues"),
    [
        ({"instances": [ROW], "store": "none"}, {"store": "expected all with Prefer: respond-async, got the string"}),
        ({"instances": [ROW], "store": "result"}, {"store": "expected all with Prefer: respond-async, got the string"}),
        ({"inputs": ["0" * 24], "store": "none"}, {"store": "expected all with Prefer: respond-async"}),
        ({"instances": [ROW], "timeout_ms": 5}, {"timeout_ms": "has no meaning with Prefer: respond-async"}),
        ({"instances": [ROW], "outputs": ["y"]}, {"outputs": "has no meaning with Prefer: respond-async"}),
        ({"inputs": ["0" * 24], "meta": [{}]}, {"meta": "with Prefer: respond-async stored inputs have the meta"}),
        ({"instances": [ROW, [1, 2]]}, {"instances[1]": "expected FP32[3]"}),
        ({"instances": [ROW], "meta": [{}, {}]}, {"meta": "expected 1 objects, got 2"}),
        ({"instances": []}, {"instances": "expected"}),
        ({"instances": [[1, 2, None]]}, {"instances[0]": "expected"}),
        ({"rows": [ROW]}, {"rows": "no such field"}),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_stored(
    api: Api, client: Client, serve: Any, body: dict[str, Any], issues: dict[str, str]
) -> None:
    serve()
    answer = api.post(URL, json=body, headers=LATER)
    assert answer.status_code == 422, answer.text
    for place, reason in issues.items():
        assert reason in answer.json["_issues"][place]
    assert nothing_stored(client)
    assert not stored(client, "jobs")


def test_a_model_that_cannot_be_asked(api: Api, client: Client, serve: Any) -> None:
    serve(name="other", state="loading")
    for name, code in (("nope", 404), ("other", 409)):
        answer = api.post(f"models/{name}/predict", json={"instances": [ROW]}, headers=LATER)
        assert answer.status_code == code
    assert nothing_stored(client)


def test_more_rows_than_are_answered_at_once_and_more_than_that(
    api: Api, client: Client, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    monkeypatch.setattr("api.routes.predict.MOST_ROWS_LATER", 10_003)
    rows = np.zeros((predict_request.MOST_ROWS + 3, 3), "f4")
    for headers, code in (({}, 422), (LATER, 202)):
        answer = api.post(URL, data=npy(rows), content_type="application/x-npy", headers=headers)
        assert answer.status_code == code, answer.text
    assert len(set(answer.json["inputs"])) == database_of(client)["inputs"].count_documents({}) == 10_003
    database_of(client)["inputs"].delete_many({})
    many = npy(np.zeros((10_004, 3), "f4"))
    answer = api.post(URL, data=many, content_type="application/x-npy", headers=LATER)
    assert answer.json["_issues"] == {"body": "expected at most 10003 rows, got 10004"}
    answer = api.post(URL, json={"instances": [ROW] * 10_004}, headers=LATER)
    assert answer.json["_issues"] == {"instances": "expected at most 10003 rows, got 10004"}
    answer = api.post(URL, json={"inputs": ["0" * 24] * 10_001}, headers=LATER)
    assert answer.json["_issues"]["inputs"].startswith("expected a list of 1 to 10000 ids")
    assert nothing_stored(client)


def test_a_row_that_is_too_large_to_be_stored_is_named(
    api: Api, client: Client, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(inputs=[{"name": "a", "dtype": "FP32", "shape": [-1]}, {"name": "b", "dtype": "BYTES", "shape": []}])
    monkeypatch.setattr(predictions, "MAX_ROW_BYTES", 100)
    rows = [{"a": [1.0, 2.0], "b": "x" * 92}, {"a": [1.0, 2.0], "b": "x" * 93}]
    answer = api.post(URL, json={"instances": rows}, headers=LATER)
    assert answer.status_code == 422
    assert answer.json["_issues"] == {"instances[1]": "expected at most 100 bytes a row, got 101"}
    assert nothing_stored(client)
    assert api.post(URL, json={"instances": rows[:1]}, headers=LATER).status_code == 202


@pytest.mark.parametrize("fails", ["the second part", "the job", "the commit"])
def test_a_failure_in_between_stores_nothing(
    api: Api, client: Client, serve: Any, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    serve()
    monkeypatch.setattr(predictions, "PART", 2)
    parts: list[int] = []
    many, one, commit = Collection.insert_many, Collection.insert_one, "pymongo.client_session.ClientSession"

    def insert_many(self: Any, documents: Any, *args: Any, **kwargs: Any) -> Any:
        parts.append(len(documents))
        if fails == "the second part" and len(parts) == 2:
            raise OperationFailure("disk full")
        return many(self, documents, *args, **kwargs)

    def insert_one(self: Any, document: Any, *args: Any, **kwargs: Any) -> Any:
        if fails == "the job" and self.name == "jobs":
            raise AutoReconnect("gone")
        return one(self, document, *args, **kwargs)

    monkeypatch.setattr(Collection, "insert_many", insert_many)
    monkeypatch.setattr(Collection, "insert_one", insert_one)
    if fails == "the commit":

        def refuse(self: Any) -> None:
            raise OperationFailure("no")

        monkeypatch.setattr(f"{commit}.commit_transaction", refuse)
    answer = api.post(URL, json={"instances": [ROW] * 5}, headers=LATER)
    assert answer.status_code == 503
    assert parts == ([2, 2] if fails == "the second part" else [2, 2, 1])
    monkeypatch.undo()
    assert nothing_stored(client)
    assert not stored(client, "jobs")


def test_more_than_the_databases_cache_holds_is_told(
    api: Api, client: Client, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    details = {"writeErrors": [{"code": 388, "errmsg": "transaction is too large and will not fit in the cache"}]}

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise BulkWriteError(details)

    monkeypatch.setattr(Collection, "insert_many", refuse)
    answer = api.post(URL, json={"instances": [ROW] * 5}, headers=LATER)
    assert answer.status_code == 422
    assert answer.json["_issues"]["instances"].startswith("5 rows of this size are more than the database takes")
    assert nothing_stored(client)


def test_a_conflict_is_tried_again_and_each_row_is_there_once(
    api: Api, client: Client, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    tries: list[str] = []
    one = Collection.insert_one

    def conflict(self: Any, document: Any, *args: Any, **kwargs: Any) -> Any:
        if self.name == "jobs":
            tries.append("")
            if len(tries) == 1:
                raise OperationFailure("conflict", 112, {"errorLabels": ["TransientTransactionError"]})
        return one(self, document, *args, **kwargs)

    monkeypatch.setattr(Collection, "insert_one", conflict)
    answer = api.post(URL, json={"instances": [ROW] * 5}, headers=LATER)
    assert (answer.status_code, len(tries)) == (202, 2)
    assert [str(row["_id"]) for row in stored(client, "inputs")] == answer.json["inputs"]


@pytest.mark.parametrize("again", [True, False], ids=["after it", "beside it"])
def test_another_run_of_the_same_request_makes_nothing_new(
    client: Client, serve: Any, service: Service, again: bool
) -> None:
    serve()
    first = ObjectId()

    def run(again: bool) -> Any:
        claim = Claim(id=ObjectId(), fence=ObjectId(), first=first, again=again)
        return service.predict_later(Prediction("sums", instances=[ROW] * 3, owner="a", claim=claim))

    job = run(again=False)
    before = {name: stored(client, name) for name in ("inputs", "jobs")}
    assert (job["inputs"][0], len(before["inputs"]), len(before["jobs"])) == (first, 3, 1)
    assert run(again)["_etag"] == job["_etag"]
    assert {name: stored(client, name) for name in ("inputs", "jobs")} == before


def test_it_takes_a_place_among_the_predictions_and_is_counted(
    api: Api, client: Client, serve: Any, service: Service, make_api: Callable[..., Api]
) -> None:
    serve(name="counted")
    url = "models/counted/predict"
    places = service.admission
    for _ in range(service.limits.places):
        places.take()
    refused = api.post(url, json={"instances": [ROW]}, headers=LATER)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    for _ in range(service.limits.places):
        places.give()
    assert api.post(url, json={"instances": [ROW]}, headers=LATER).status_code == 202
    figures = api.get("/metrics", headers={"Authorization": f"Bearer {ADMIN_KEY}"}).text
    assert 'almanac_requests_total{code="202",model="counted",version="1"} 1.0' in figures
    assert places.inside() == 0
