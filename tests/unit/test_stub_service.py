"""The whole of HTTP and service over a database in memory and a model that is none: what needs no mongod."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import mongomock.collection
import pymongo.errors
import pytest
from bson import ObjectId

from ml.database.client import database_of
from tests.conftest import Api


@pytest.fixture
def db(mock_client: Any) -> Any:
    return database_of(mock_client)


def test_an_input_is_stored_and_read_back(mock_api: Api, db: Any) -> None:
    posted = mock_api.post("inputs", json={"data": [[1, 2], [3, 4]], "tags": ["a"]})
    assert posted.status_code == 201
    stored = db["inputs"].find_one()
    assert stored["data"] == [[1, 2], [3, 4]]
    assert (stored["source"], stored["owner"]) == ("rest", "admin")
    assert mock_api.get(f"inputs/{posted.json['_id']}").json["data"] == [[1, 2], [3, 4]]
    listed = mock_api.get("inputs", query_string={"where": '{"tags": "a"}', "count": "true"}).json
    assert listed["_meta"] == {"page": 1, "max_results": 25, "total": 1}


def test_a_prediction_is_computed_stored_and_answered(
    mock_api: Api, mock_client: Any, db: Any, stub: Callable[..., Any]
) -> None:
    stub(mock_client, classes=["low", "high"])
    answer = mock_api.post("models/sums/predict", json={"instances": [[1, 2, 3], [4, 5, 6]]})
    assert answer.status_code == 200
    assert (answer.json["model"], answer.json["version"]) == ("sums", 1)
    assert [p["output"] for p in answer.json["predictions"]] == [[6.0, 7.0], [15.0, 16.0]]
    assert [(p["label"], p["score"]) for p in answer.json["predictions"]] == [("high", 7.0), ("high", 16.0)]
    first = db["results"].find_one({"_id": ObjectId(answer.json["predictions"][0]["_id"])})
    assert first["output"] == {"y": [6.0, 7.0]}
    assert first["input"] == ObjectId(answer.json["predictions"][0]["input"])
    assert db["inputs"].find_one({"_id": first["input"]})["data"] == [1.0, 2.0, 3.0]


def test_requests_at_the_same_time_get_their_own_rows(
    mock_api: Api, mock_client: Any, db: Any, stub: Callable[..., Any]
) -> None:
    stub(mock_client)
    answers: dict[int, Any] = {}
    gate = threading.Barrier(16)

    def ask(number: int) -> None:
        rows = [[number, 0, row] for row in range(number % 5 + 1)]
        gate.wait()
        http = Api(mock_api.http.application.test_client())
        answers[number] = http.post("models/sums/predict", json={"instances": rows}).json

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, answer in answers.items():
        sums = [prediction["output"][0] for prediction in answer["predictions"]]
        assert sums == [number + row for row in range(number % 5 + 1)]
    stored = {result["_id"]: result["output"]["y"][0] for result in db["results"].find()}
    told = {ObjectId(p["_id"]): p["output"][0] for answer in answers.values() for p in answer["predictions"]}
    assert stored == told


def test_a_row_that_fails_the_model_hurts_no_other_request(
    mock_api: Api, mock_client: Any, db: Any, stub: Callable[..., Any]
) -> None:
    stub(mock_client, fail_on=13.0)
    bad = mock_api.post(
        "models/sums/predict", json={"instances": [[13, 0, 0], [1, 0, 0]]}, headers={"X-Request-ID": "r-1"}
    )
    assert bad.status_code == 500
    assert bad.json["_error"]["message"].endswith("(request r-1)")
    assert list(bad.json["_issues"]) == ["instances[0]"]
    guilty, other = db["results"].find({"request": "r-1"}).sort("_id", 1)
    assert (guilty["status"], guilty["error"]["code"]) == ("failed", "execution_failed")
    assert "output" not in guilty
    assert (other["status"], other["output"]) == ("succeeded", {"y": [1.0, 2.0]})
    assert mock_api.post("models/sums/predict", json={"instances": [[1, 0, 0]]}).status_code == 200


@pytest.fixture
def no_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that takes no more writes."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise pymongo.errors.AutoReconnect("connection closed by db-17")

    for name in ("insert_many", "insert_one", "find_one_and_update", "delete_one"):
        monkeypatch.setattr(mongomock.collection.Collection, name, refuse)


@pytest.mark.usefixtures("no_writes")
def test_an_input_that_cannot_be_stored_is_a_503(mock_api: Api) -> None:
    answer = mock_api.post("inputs", json={"data": [1]})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert "db-17" not in answer.text


def test_a_prediction_that_cannot_be_stored_is_a_503(
    mock_api: Api, mock_client: Any, stub: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    stub(mock_client)
    posted = mock_api.post("inputs", json={"data": [1, 2, 3]}).json
    made = mock_api.post("models/sums/predict", json={"instances": [[1, 2, 3]]}).json["predictions"][0]
    request.getfixturevalue("no_writes")
    for body in (
        {"instances": [[1, 2, 3]]},
        {"instances": [[1, 2, 3]], "store": "result"},
        {"inputs": [posted["_id"]]},
    ):
        answer = mock_api.post("models/sums/predict", json=body)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        assert "could not be stored: AutoReconnect" in answer.json["_error"]["message"]
    answer = mock_api.post("models/sums/predict", json={"instances": [[1, 2, 3]], "store": "none"})
    assert answer.status_code == 200
    assert answer.json["predictions"] == [{"output": [6.0, 7.0]}]
    path, etag = f"inputs/{posted['_id']}", {"If-Match": posted["_etag"]}
    assert mock_api.patch(path, json={"tags": ["a"]}, headers=etag).status_code == 503
    assert mock_api.delete(f"results/{made['_id']}", headers={"If-Match": "*"}).status_code == 503


def test_with_no_reads_either_every_route_says_so(
    mock_api: Api, mock_client: Any, stub: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(mock_client)
    assert mock_api.post("models/sums/predict", json={"instances": [[1, 2, 3]], "store": "none"}).status_code == 200

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise pymongo.errors.ServerSelectionTimeoutError("no primary")

    for name in ("find", "find_one", "count_documents", "insert_one", "insert_many"):
        monkeypatch.setattr(mongomock.collection.Collection, name, refuse)
    id_ = str(ObjectId())
    for method, path, body in [
        ("get", "inputs", None),
        ("get", "results?count=true", None),
        ("get", f"jobs/{id_}", None),
        ("get", f"inputs/{id_}/data", None),
        ("patch", f"inputs/{id_}", {"tags": []}),
        ("delete", f"results/{id_}", None),
        ("post", "inputs", {"data": [1]}),
        ("post", "models/sums/predict", {"inputs": [id_]}),
        ("post", "models/other/predict", {"instances": [[1]]}),
    ]:
        answer = getattr(mock_api, method)(path, json=body, headers={"If-Match": "*"})
        assert (answer.status_code, answer.json["_status"]) == (503, "ERR"), (method, path, answer.text)
    answer = mock_api.post("models/sums/predict", json={"instances": [[1, 2, 3]], "store": "none"})
    assert answer.status_code == 200
    assert mock_api.get("/health/live").status_code == 200


def test_a_request_that_nobody_waits_for_any_more_is_a_504(
    mock_api: Api, mock_client: Any, stub: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(mock_client)
    mock_api.post("models/sums/predict", json={"instances": [[1, 2, 3]]})
    slow = threading.Event()
    insert = mongomock.collection.Collection.insert_many

    def wait(*args: Any, **kwargs: Any) -> Any:
        slow.wait(10)
        return insert(*args, **kwargs)

    monkeypatch.setattr(mongomock.collection.Collection, "insert_many", wait)
    answer = mock_api.post("models/sums/predict", json={"instances": [[1, 2, 3]], "timeout_ms": 50})
    slow.set()
    assert answer.status_code == 504
    assert "no answer within 50 ms; the rows may have been stored" in answer.json["_error"]["message"]
