"""Webhooks over REST: what a job may ask for, its deliveries, the owner's secret."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId

from ml.database.client import database_of
from ml.webhooks import outbox
from tests.conftest import Api
from tests.integration.rest import TIME, Client

URL = "https://receiver.example:8443/hooks/almanac?key=1"


@pytest.fixture(autouse=True)
def _model(client: Client, stub: Callable[..., Any]) -> None:
    stub(client)


def submit(api: Api, webhook: Any) -> Any:
    return api.post("jobs", json={"model": "sums", "webhook": webhook})


@pytest.fixture
def canceled(api: Api) -> str:
    """The id of a job that was canceled, and whose webhook was not told yet."""
    job: str = submit(api, {"url": URL}).json["_id"]
    assert api.patch(f"jobs/{job}", json={"status": "canceled"}, headers={"If-Match": "*"}).status_code == 200
    return job


@pytest.fixture
def delivery(api: Api, client: Client, canceled: str) -> str:
    """The id of its delivery."""
    outbox.move_all(database_of(client))
    [made] = api.get("deliveries").json["_items"]
    assert made["job"] == canceled
    id_: str = made["_id"]
    return id_


def in_state(client: Client, delivery: str, status: str) -> None:
    """As a sender would have left it."""
    fields = {"status": status, "attempt": 3, "response_code": 500}
    change: dict[str, Any] = {"$set": fields}
    if status == "failed":
        fields["error"] = "the receiver answered 500"
    if status != "queued":
        change["$unset"] = {"next_at": ""}
    database_of(client)["deliveries"].update_one({"_id": ObjectId(delivery)}, change)


def test_a_job_keeps_its_webhook(api: Api) -> None:
    for webhook in ({"url": URL}, {"url": URL, "events": ["succeeded", "failed"]}):
        made = submit(api, webhook)
        assert (made.status_code, made.json["webhook"]) == (201, webhook)
        assert api.get(f"jobs/{made.json['_id']}").json["webhook"] == webhook
    assert "webhook" not in api.post("jobs", json={"model": "sums"}).json
    listed = api.get("jobs", query_string={"where": '{"webhook.url": {"$regex": "^https://receiver"}}'})
    assert len(listed.json["_items"]) == 2


@pytest.mark.parametrize(
    ("webhook", "issues"),
    [
        (None, {"webhook": "expected a value, got null"}),
        (URL, {"webhook": "expected an object, got the string"}),
        ([{"url": URL}], {"webhook": "expected an object, got a list of 1"}),
        ({}, {"webhook.url": "required, got nothing"}),
        ({"url": None}, {"webhook.url": "expected a value, got null"}),
        ({"url": 5}, {"webhook.url": "expected a string, got the number 5"}),
        ({"url": "receiver.example/x"}, {"webhook.url": "expected an absolute http or https URL"}),
        ({"url": "ftp://receiver.example/"}, {"webhook.url": "expected an absolute http or https URL"}),
        ({"url": "http://u:p@receiver.example/"}, {"webhook.url": "expected a URL without user name and password"}),
        ({"url": "http://receiver.example:0/"}, {"webhook.url": "expected a port from 1 to 65535, got 0"}),
        ({"url": URL + "x" * 2000}, {"webhook.url": "expected at most 2000 characters, got 2049"}),
        ({"url": "http://localhost:80/"}, {"webhook.url": "localhost is this machine itself; private targets are"}),
        ({"url": "http://127.0.0.1/"}, {"webhook.url": "127.0.0.1 is no public address; private targets are refused"}),
        ({"url": "http://[::1]/"}, {"webhook.url": "::1 is no public address; private targets are refused"}),
        ({"url": "http://2852039166/"}, {"webhook.url": "2852039166 is no public address"}),
        ({"url": URL, "secret": "x"}, {"webhook.secret": "no such field"}),
        ({"url": URL, "events": []}, {"webhook.events": "expected at least 1 long, got a list of 0"}),
        ({"url": URL, "events": "started"}, {"webhook.events": "expected a list, got the string 'started'"}),
        ({"url": URL, "events": None}, {"webhook.events": "expected a value, got null"}),
        ({"url": URL, "events": ["ended"]}, {"webhook.events[0]": "expected one of"}),
        ({"url": URL, "events": [1]}, {"webhook.events[0]": "expected a string, got the number 1"}),
        ({"url": URL, "events": [{"$gt": ""}]}, {"webhook.events[0]": "expected a string, got an object"}),
        ({"url": URL, "events": ["failed"] * 2}, {"webhook.events": "expected each once, got the string 'failed'"}),
    ],
)  # fmt: skip
def test_a_webhook_that_is_none(api: Api, client: Client, webhook: Any, issues: dict[str, str]) -> None:
    answer = submit(api, webhook)
    assert answer.status_code == 422
    assert answer.json["_issues"].keys() == issues.keys(), answer.json
    for field, message in issues.items():
        assert answer.json["_issues"][field].startswith(message), answer.json
    assert database_of(client)["jobs"].count_documents({}) == 0


def test_a_webhook_is_not_changed(api: Api) -> None:
    job = submit(api, {"url": URL}).json
    for webhook in ({"url": URL}, {"url": "https://other.example/"}, None):
        answer = api.patch(f"jobs/{job['_id']}", json={"webhook": webhook}, headers={"If-Match": "*"})
        assert answer.status_code == 422
        assert "webhook" in answer.json["_issues"]
    assert api.get(f"jobs/{job['_id']}").json["webhook"] == {"url": URL}


def test_private_targets_where_they_are_allowed(client: Client, make_api: Callable[..., Api]) -> None:
    api = make_api(client, webhook_private_targets=True)
    for url in ("http://localhost:8000/x", "http://10.0.0.1/", "http://[::1]:81/", "http://127.1/"):
        assert submit(api, {"url": url}).status_code == 201
    assert submit(api, {"url": "http://u:p@localhost/"}).status_code == 422


def test_a_delivery_is_shown_as_a_whole_and_nothing_else(api: Api, canceled: str, delivery: str) -> None:
    made = api.get(f"deliveries/{delivery}").json
    assert made.keys() == {
        "_id", "_created", "_updated", "_etag", "job", "event", "url", "attempt", "status", "next_at", "owner",
    }  # fmt: skip
    assert (made["job"], made["event"], made["url"], made["owner"]) == (canceled, "canceled", URL, "admin")
    assert (made["attempt"], made["status"]) == (0, "queued")
    assert TIME.match(made["next_at"])
    job = api.get(f"jobs/{canceled}").json
    assert not job.keys() & {"outbox", "noted"}


def test_dead_ones_are_listed(api: Api, client: Client, delivery: str) -> None:
    in_state(client, delivery, "failed")
    query = {"where": '{"status": "failed", "response_code": {"$gte": 500}}', "sort": "-_created"}
    [dead] = api.get("deliveries", query_string=query).json["_items"]
    assert (dead["error"], dead["response_code"], dead["attempt"]) == ("the receiver answered 500", 500, 3)
    assert "next_at" not in dead


@pytest.mark.parametrize("state", ["failed", "delivered"])
def test_one_that_ended_is_sent_again(api: Api, client: Client, delivery: str, state: str) -> None:
    in_state(client, delivery, state)
    before = api.get(f"deliveries/{delivery}").json
    path = f"deliveries/{delivery}"
    assert api.patch(path, json={"status": "queued"}).status_code == 428
    assert api.patch(path, json={"status": "queued"}, headers={"If-Match": "x"}).status_code == 412
    answer = api.patch(path, json={"status": "queued"}, headers={"If-Match": before["_etag"]})
    assert answer.status_code == 200
    assert (answer.json["status"], answer.json["attempt"]) == ("queued", 0)
    assert not answer.json.keys() & {"response_code", "error"}
    assert TIME.match(answer.json["next_at"])
    assert answer.json["_etag"] != before["_etag"]
    again = api.patch(path, json={"status": "queued"}, headers={"If-Match": "*"})
    assert again.status_code == 409
    assert "the delivery is queued" in again.json["_error"]["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"status": "failed"}, "status"), ({"status": "delivered"}, "status"), ({"status": None}, "status"),
        ({"attempt": 0}, "attempt"), ({"url": "https://other.example/"}, "url"), ({"owner": "x"}, "owner"),
        ({"payload": "x"}, "payload"), ({"status": "queued", "job": "0" * 24}, "job"),
    ],
)  # fmt: skip
def test_nothing_else_is_changed(api: Api, client: Client, delivery: str, body: dict[str, Any], field: str) -> None:
    in_state(client, delivery, "failed")
    before = database_of(client)["deliveries"].find_one()
    answer = api.patch(f"deliveries/{delivery}", json=body, headers={"If-Match": "*"})
    assert (answer.status_code, list(answer.json["_issues"])) == (422, [field])
    assert api.patch(f"deliveries/{delivery}", json={}, headers={"If-Match": "*"}).status_code == 200
    assert database_of(client)["deliveries"].find_one() == before


def test_deliveries_are_made_and_deleted_by_nobody(api: Api, delivery: str) -> None:
    for method, path in (
        ("post", "deliveries"),
        ("delete", f"deliveries/{delivery}"),
        ("put", f"deliveries/{delivery}"),
    ):
        assert getattr(api, method)(path, json={}, headers={"If-Match": "*"}).status_code == 405


def test_a_job_that_is_deleted_takes_no_event_with_it(api: Api, client: Client, canceled: str) -> None:
    assert api.delete(f"jobs/{canceled}", headers={"If-Match": "*"}).status_code == 204
    [made] = api.get("deliveries").json["_items"]
    assert (made["event"], made["job"]) == ("canceled", canceled)


def test_the_secret_is_shown_to_its_owner(api: Api) -> None:
    answer = api.get("webhooks/secret")
    assert answer.json.keys() == {"secret"}
    assert answer.headers["Cache-Control"] == "no-store"
    prefix, _, encoded = answer.json["secret"].partition("_")
    assert (prefix, len(base64.b64decode(encoded, validate=True))) == ("whsec", 32)
    assert api.get("webhooks/secret").json == answer.json
    other = api.post("webhooks/secret")
    assert (other.status_code, other.json.keys()) == (200, {"secret"})
    assert other.json != answer.json
    assert api.get("webhooks/secret").json == other.json


def test_a_reader_replaces_no_secret(api: Api) -> None:
    reader = api.as_caller("reader:alice")
    shown = reader.get("webhooks/secret")
    assert shown.status_code == 200
    assert reader.post("webhooks/secret").status_code == 403
    assert reader.get("webhooks/secret").json == shown.json == api.as_caller("user:alice").get("webhooks/secret").json


def test_the_secret_is_nobodys_to_choose(api: Api) -> None:
    assert api.post("webhooks/secret", json={"secret": "whsec_x"}).status_code == 422
    assert api.post("webhooks/secret?owner=bob").status_code == 400
    assert api.get("webhooks/secret?owner=bob").status_code == 400
    for method in ("put", "patch", "delete"):
        assert getattr(api, method)("webhooks/secret", json={}).status_code == 405
