"""Every error in one shape: what the service, the database and HTTP itself fail at, and what nobody thought of."""

from __future__ import annotations

import logging
from typing import Any

import bson.errors
import pytest
from flask import Flask
from pymongo import errors as mongo
from werkzeug import exceptions
from werkzeug.test import TestResponse

from api import errors, requests
from api.errors import CODES, ApiError
from ml import errors as service


def answer_to(error: Exception, **kwargs: Any) -> TestResponse:
    """What a request is answered whose view raises this."""
    app = Flask(__name__)
    errors.register(app)
    requests.register(app)

    @app.get("/")
    def view() -> str:
        raise error

    return app.test_client().get("/", headers={"X-Request-ID": "abc-1"}, **kwargs)


def check(response: TestResponse, code: int, message: str) -> dict[str, Any]:
    assert response.status_code == code
    assert response.mimetype == "application/json"
    body: dict[str, Any] = response.get_json()
    assert body["_status"] == "ERR"
    assert body["_error"]["code"] == code
    assert message in body["_error"]["message"]
    assert body.keys() <= {"_status", "_error", "_issues"}
    return body


def test_the_shape() -> None:
    body = check(answer_to(ApiError(422, "no", {"a": "b"}, {"Retry-After": "7"})), 422, "no")
    assert body == {"_status": "ERR", "_error": {"code": 422, "message": "no"}, "_issues": {"a": "b"}}
    response = answer_to(ApiError(503, "no", headers={"Retry-After": "7"}))
    assert response.headers["Retry-After"] == "7"
    assert "_issues" not in response.get_json()


SERVICE = [
    (service.UnknownModel("there is no model 'x'"), 404),
    (service.UnknownDocuments("inputs that do not exist", {"inputs[0]": "there is no input"}), 404),
    (service.ModelNotAvailable("m:1 is loading"), 409),
    (service.WrongState("the job is running"), 409),
    (service.Changed("changed"), 412),
    (service.NotAllowed("not yours"), 403),
    (service.Invalid("does not fit", {"x": "wrong"}), 422),
    (service.DeadlineExceeded("too late"), 504),
    (service.StorageUnavailable("not stored"), 503),
    (service.ExecutionFailed("the model failed"), 500),
]


@pytest.mark.parametrize(("error", "code"), SERVICE)
def test_what_the_service_refuses(error: service.ServiceError, code: int) -> None:
    body = check(answer_to(error), code, str(error))
    assert body.get("_issues", {}) == getattr(error, "issues", {})


def test_every_error_of_the_service_has_a_code() -> None:
    assert set(CODES) == set(service.ServiceError.__subclasses__())


def test_a_failed_model_is_told_with_the_request() -> None:
    check(answer_to(service.ExecutionFailed("it failed")), 500, "it failed (request abc-1)")


def test_storage_that_is_away_is_to_be_tried_again() -> None:
    assert answer_to(service.StorageUnavailable("away")).headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    "error",
    [
        mongo.ServerSelectionTimeoutError("no primary at db-17:27017"),
        mongo.AutoReconnect("connection closed"),
        mongo.NotPrimaryError("not primary"),
        mongo.NetworkTimeout("timed out"),
        mongo.OperationFailure("not authorized", 13),
        mongo.WriteConcernError("no majority", 64),
    ],
)
def test_a_database_that_is_away_is_a_503(error: Exception) -> None:
    response = answer_to(error)
    body = check(response, 503, f"the database is not available ({type(error).__name__})")
    assert response.headers["Retry-After"] == "1"
    assert str(error) not in str(body)  # names of hosts are for the log


def test_a_read_that_took_too_long_says_what_to_do() -> None:
    response = answer_to(mongo.ExecutionTimeout("time limit", 50))
    check(response, 503, "the database was busy with this for 15 s: ask for less")
    assert response.headers["Retry-After"] == "1"


def test_a_query_that_the_database_refuses_is_a_400_without_the_clusters_secrets() -> None:
    details = {"errmsg": "Regular expression is invalid", "code": 51091, "$clusterTime": {"signature": "s3cret"}}
    body = check(answer_to(mongo.OperationFailure("all of it: s3cret", 51091, details)), 400, "cannot be answered")
    assert body["_issues"] == {"where": "Regular expression is invalid"}


def test_a_value_that_bson_cannot_hold_is_a_422() -> None:
    body = check(answer_to(bson.errors.InvalidDocument("cannot encode object")), 422, "a value cannot be stored")
    assert body["_issues"] == {"body": "cannot encode object"}


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (exceptions.NotFound(), 404, "there is nothing at /"),
        (exceptions.MethodNotAllowed(["GET"]), 405, "GET is not allowed here"),
        (exceptions.PreconditionFailed(), 412, "no longer what If-Match names"),
        (exceptions.PreconditionRequired(), 428, "If-Match is needed"),
        (exceptions.RequestEntityTooLarge(), 413, "larger than is allowed"),
        (exceptions.BadRequest("the reason"), 400, "the reason"),
        (exceptions.TooManyRequests(), 429, ""),
    ],
)
def test_what_http_itself_refuses(error: Exception, code: int, message: str) -> None:
    check(answer_to(error), code, message)


def test_the_allowed_methods_are_named() -> None:
    assert answer_to(exceptions.MethodNotAllowed(["GET", "PATCH"])).headers["Allow"] == "GET, PATCH"


def test_what_nobody_thought_of_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        body = check(answer_to(RuntimeError("a secret")), 500, "under request abc-1")
    assert "a secret" not in str(body)
    assert "a secret" in caplog.text


@pytest.mark.parametrize("given", ["abc", "A-1._:/+=@", "x" * 128])
def test_a_sane_request_id_is_kept(given: str) -> None:
    app = Flask(__name__)
    requests.register(app)
    assert app.test_client().get("/", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "é", "a\tb", '"a"', "{}"])
def test_another_is_replaced(given: str) -> None:
    app = Flask(__name__)
    requests.register(app)
    made = app.test_client().get("/", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert len(made) == 32
    assert made.isalnum()
