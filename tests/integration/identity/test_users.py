"""`users` over REST and HTTP Basic: passwords that are no guess, verified once a minute, and gone with their user."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import bson
import pytest

from ml.database.client import database_of
from ml.identity import identity, proofs
from tests.conftest import Api
from tests.integration.identity.people import MATCH, PASSWORD, logged_in, make_user, status
from tests.integration.rest import NDJSON, Client
from tests.waiting import until

SHOWN = {"_id", "_created", "_updated", "_etag", "name", "role"}


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were held against what is stored."""
    seen: list[str] = []
    real = identity.is_password
    monkeypatch.setattr(identity, "is_password", lambda given, stored: seen.append(given) or real(given, stored))
    return seen


def test_a_password_is_stored_as_argon2id_and_never_shown(admin: Api, client: Client) -> None:
    answer = admin.post("users", json={"name": "bob", "role": "user", "password": PASSWORD, "disabled": False})
    made = answer.json
    assert answer.headers["Cache-Control"] == "no-store"
    assert made.keys() == SHOWN | {"disabled", "_status"}
    changed = admin.patch(f"users/{made['_id']}", json={"password": PASSWORD + "!"}, headers=MATCH)
    assert (changed.status_code, changed.json.keys()) == (200, SHOWN | {"disabled", "_status"})
    [document] = database_of(client)["users"].find()
    assert document["password_hash"].startswith("$argon2id$v=19$m=47104,t=2,p=1$")
    everything = made | changed.json | admin.get("users").json
    assert PASSWORD not in json.dumps(everything) + admin.get("users", headers=NDJSON).text
    assert "argon2" not in json.dumps(everything)
    assert PASSWORD.encode() not in bson.encode(document)
    for field in ("password", "password_hash"):
        assert admin.get("users", query_string={"where": json.dumps({field: {"$gt": ""}})}).status_code == 400


@pytest.mark.parametrize(
    ("fields", "issue", "words"),
    [
        ({"password": "Zq8#x!k"}, "password", "expected at least 8 characters, got 7"),
        ({"password": "é" * 513}, "password", "expected at most 1024 bytes, got 1026"),
        ({"password": "password1"}, "password", "This is a very common password. Add another word or two."),
        ({"password": "bobbobbob"}, "password", "expected a score of 3 or 4 by zxcvbn, got"),
        ({"password": "a1" * 500}, "password", "expected a score of 3 or 4 by zxcvbn, got"),
        ({"password": 12345678901}, "password", "expected a string"),
        ({"password": None}, "password", "expected a value, got null"),
        ({"name": "bob:x"}, "name", "expected a string that matches"),
        ({"name": ""}, "name", "expected"),
        ({"role": "root"}, "role", "expected one of"),
        ({"disabled": "yes"}, "disabled", "expected true or false"),
        ({"owner": "alice"}, "owner", "no such field"),
    ],
)
def test_what_is_no_user_is_named(admin: Api, client: Client, fields: dict[str, Any], issue: str, words: str) -> None:
    answer = admin.post("users", json={"name": "bob", "role": "user", "password": PASSWORD, **fields})
    assert (answer.status_code, list(answer.json["_issues"])) == (422, [issue])
    assert words in answer.json["_issues"][issue]
    assert not isinstance(fields.get("password"), str) or fields["password"] not in answer.text
    assert database_of(client)["users"].count_documents({}) == 0


def test_a_name_is_one_users(admin: Api) -> None:
    made = make_user(admin)
    body = {"name": "bob", "role": "admin", "password": PASSWORD}
    for payload in (body, [body, {**body, "name": "carol"}]):
        answer = admin.post("users", json=payload)
        assert (answer.status_code, list(answer.json["_issues"])) == (422, ["name"])
    assert admin.get("users?count=true").json["_meta"]["total"] == 1
    assert admin.patch(f"users/{made['_id']}", json={"name": "carol"}, headers=MATCH).status_code == 422
    assert admin.post("users", json=[body] * 21).status_code == 422


def test_a_user_is_the_owner_of_that_name(admin: Api) -> None:
    make_user(admin)
    bob = logged_in(admin)
    assert bob.post("inputs", json={"data": [1]}).json["owner"] == "bob"
    assert status(logged_in(admin, "bob", "x" + PASSWORD)) == 401
    assert status(logged_in(admin, "Bob")) == 401
    assert status(bob, "users") == 403


def test_a_password_is_verified_once_a_minute(admin: Api, verified: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make_user(admin)
    bob = logged_in(admin)
    assert [status(bob) for _ in range(5)] == [200] * 5
    assert verified == [PASSWORD]
    monkeypatch.setattr(proofs, "FRESH_SECONDS", 0.0)
    assert status(bob) == 200
    assert verified == [PASSWORD] * 2


def test_a_user_that_changes_is_asked_again(admin: Api, replica: Callable[..., Api]) -> None:
    made, other = make_user(admin, role="reader"), replica()
    path = f"users/{made['_id']}"
    here, there = logged_in(admin), logged_in(other)

    def change(**fields: Any) -> None:
        assert admin.patch(path, json=fields, headers=MATCH).status_code == 200

    assert [status(here), status(there)] == [200, 200]
    assert [caller.post("inputs", json={"data": [1]}).status_code for caller in (here, there)] == [403, 403]
    change(role="user")
    assert here.post("inputs", json={"data": [1]}).status_code == 201
    until(lambda: there.post("inputs", json={"data": [1]}).status_code == 201, 2)
    change(disabled=True)
    assert status(here) == 401
    until(lambda: status(there) == 401, 2)
    change(disabled=False)
    assert status(here) == 200
    until(lambda: status(there) == 200, 2)
    change(password=PASSWORD + " again")
    assert status(here) == 401
    until(lambda: status(there) == 401, 2)
    here, there = (logged_in(app, "bob", PASSWORD + " again") for app in (admin, other))
    assert [status(here), status(there)] == [200, 200]
    assert admin.delete(path, headers=MATCH).status_code == 204
    assert status(here) == 401
    until(lambda: status(there) == 401, 2)


@pytest.mark.parametrize(
    "token",
    ["", "Ym9i", "%%%", base64.b64encode(b"\xff:\xff").decode(), base64.b64encode(b"bob").decode(), "Ym9iOg==", "é"],
)
def test_what_is_no_name_and_password(admin: Api, token: str) -> None:
    answer = admin.as_caller(None).get("inputs", headers={"Authorization": f"Basic {token}"})
    assert answer.status_code == 401
    # A browser would keep a password and send it with another site's form.
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="almanac"'


def test_unknown_names_take_as_long_as_wrong_passwords(admin: Api, verified: list[str]) -> None:
    make_user(admin)
    answers = [logged_in(admin, name, "wrong").get("inputs") for name in ("bob", "nobody")]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json == answers[1].json
    assert verified == ["wrong", "wrong"]
    # No time is spent on what nobody can have set.
    assert status(logged_in(admin, "bob", "x" * 1025)) == 401
    assert len(verified) == 2
