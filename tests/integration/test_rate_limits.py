"""Limits of requests: for each key and each address without one, on every route, counted in MongoDB or in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from limits import parse_many
from limits.storage import MemoryStorage
from pymongo.errors import AutoReconnect
from werkzeug.test import TestResponse

from api.auth.caller import Caller
from api.edge import MORE_HEADERS
from api.rate_limits import counting, storages
from api.rate_limits.counting import RateLimits, TooMany
from api.rate_limits.storages import DatabaseCounts, MemoryCounts
from ml.database.client import database_of
from tests.conftest import Api
from tests.integration.rest import ROW, URL, Client, stored

EVE, ADAM = Caller("eve", "user"), Caller("adam", "user")


def left(answer: TestResponse) -> int:
    return int(answer.headers["RateLimit-Remaining"])


def plain(api: Api, **headers: str) -> TestResponse:
    return api.post(URL, data=json.dumps({"instances": [ROW]}), content_type="application/json", headers=headers)


@pytest.fixture(params=["database", "memory"])
def limited(request: pytest.FixtureRequest, client: Client, make_api: Callable[..., Api]) -> Callable[[str], Api]:
    """Makes an app with a limit, counted in either."""
    storage = {"rate_limit_storage": "memory://"} if request.param == "memory" else {}
    return lambda limit: make_api(client, rate_limit=limit, **storage)


def test_what_is_too_much_is_a_429_that_says_when_to_come_again(limited: Callable[[str], Api]) -> None:
    api = limited("3/minute")
    for remaining in (2, 1, 0):
        answer = api.get("inputs")
        assert (answer.status_code, left(answer)) == (200, remaining)
        assert answer.headers["RateLimit-Limit"] == "3"
        assert answer.headers["RateLimit-Policy"] == "3;w=60"
        assert 0 < int(answer.headers["RateLimit-Reset"]) <= 60
    for _ in range(2):
        answer = api.get("inputs")
        assert answer.status_code == 429
        assert answer.json == {
            "_status": "ERR",
            "_error": {"code": 429, "message": "too many requests with this key: 3 in 60 seconds are allowed"},
        }
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        assert (left(answer), answer.headers["X-Request-ID"] != "") == (0, True)
    assert api.as_caller("user:eve").get("inputs").status_code == 200
    assert api.as_caller(None).get("/health/live").status_code == 200
    assert "RateLimit-Limit" not in api.as_caller(None).get("/health/live").headers


def test_plain_predictions_count_as_all_others_do(
    limited: Callable[[str], Api], client: Client, stub: Callable[..., Any]
) -> None:
    """Those that are answered before Flask, those that are looked at there and left to the route, and lists."""
    stub(client)
    api = limited("6/minute")
    asked = [
        plain(api, Prefer="chocolate"),
        plain(api),
        api.post(URL, json={"instances": [[1]]}),
        api.get("nothing"),
        plain(api),
        api.get("inputs"),
    ]
    assert [answer.status_code for answer in asked] == [200, 200, 422, 404, 200, 200]
    assert [left(answer) for answer in asked] == [5, 4, 3, 2, 1, 0]
    for answer in (plain(api), plain(api, Prefer="chocolate")):
        assert (answer.status_code, left(answer)) == (429, 0)
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json["_error"]["code"] == 429
    assert len(stored(client, "results")) == 3
    assert plain(api.as_caller("user:eve")).status_code == 200


def test_who_has_no_key_is_counted_by_address(limited: Callable[[str], Api]) -> None:
    api = limited("2/minute")
    stranger, guesser = api.as_caller(None), api.as_caller("nobody's")
    assert [stranger.get("inputs").status_code, guesser.get("inputs").status_code] == [401, 401]
    for caller in (stranger, guesser):
        answer = caller.get("inputs")
        assert answer.status_code == 429
        assert answer.json["_error"]["message"].startswith("too many requests from this address")
        assert int(answer.headers["Retry-After"]) > 0
    # Whoever has a key is let in from there, and other addresses may still ask.
    assert api.get("inputs").status_code == 200
    assert stranger.get("inputs", environ_base={"REMOTE_ADDR": "192.0.2.9"}).status_code == 401


def test_passwords_are_not_even_looked_at_when_an_address_has_sent_too_many(
    limited: Callable[[str], Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = limited("1/minute").as_caller(None)
    basic = {"Authorization": "Basic YTpi"}
    assert [api.get("inputs", headers=basic).status_code for _ in range(2)] == [401, 429]
    looked: list[bool] = []
    monkeypatch.setattr("api.auth.guard.caller_of", lambda *_: looked.append(True))
    assert api.get("inputs", headers=basic).status_code == 429
    assert not looked


def test_without_a_limit_nothing_is_counted_or_said(api: Api, client: Client) -> None:
    assert not [name for name, _ in api.get("inputs").headers if name.startswith("RateLimit")]
    assert "limiter" not in api.http.application.extensions
    assert stored(client, "limits") == []


def test_two_processes_share_what_the_database_counts(client: Client, make_api: Callable[..., Api]) -> None:
    one, other = (make_api(client, rate_limit="3/minute") for _ in range(2))
    assert [left(api.get("inputs")) for api in (one, other, one)] == [2, 1, 0]
    assert other.get("inputs").status_code == 429
    (counted,) = stored(client, "limits")
    assert counted["_id"].startswith("key:admin")
    assert database_of(client)["limits"].index_information()["expires"]["expireAfterSeconds"] == 0


class Broken(MemoryCounts):
    """A storage that is away while it is told to be."""

    away = False
    asked = 0

    def counted(self, key: str, seconds: int) -> tuple[int, float]:
        Broken.asked += 1
        if Broken.away:
            raise AutoReconnect("gone")
        return super().counted(key, seconds)

    @property
    def base_exceptions(self) -> type[Exception]:
        return AutoReconnect


def test_while_the_storage_is_away_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(counting.time, "monotonic", lambda: now[0])
    Broken.away, Broken.asked = False, 0
    limits = RateLimits(parse_many("2/minute"), Broken())

    def ask(caller: Caller = EVE) -> int:
        environ: dict[str, Any] = {}
        limits.count_caller(environ, caller)
        return int(dict(environ[MORE_HEADERS])["RateLimit-Remaining"])

    assert ask() == 1
    Broken.away = True
    assert [ask(), ask()] == [1, 0]  # a count of its own, which is as strict
    with pytest.raises(TooMany):
        ask()
    asked = Broken.asked
    ask(ADAM)
    assert Broken.asked == asked  # not again at once
    now[0] += counting.AWAY_SECONDS
    ask(ADAM)
    assert Broken.asked == asked + 1
    Broken.away = False
    now[0] += 60
    assert ask() == 1
    assert ask() == 0


def test_a_refusal_costs_the_storage_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(counting.time, "monotonic", lambda: now[0])
    Broken.away, Broken.asked = False, 0
    limits = RateLimits(parse_many("1/minute"), Broken())
    limits.count_caller({}, EVE)
    for _ in range(5):
        with pytest.raises(TooMany):
            limits.count_caller({}, EVE)
    assert Broken.asked == 2
    now[0] += 60
    limits.count_caller({}, EVE)


@pytest.mark.parametrize("owner", ["a b", "é" * 300, "a\nb", "\ud800"])
def test_an_owner_of_any_name_is_a_key_that_every_storage_takes(client: Client, owner: str) -> None:
    limits = RateLimits(parse_many("1/minute"), DatabaseCounts(counts=database_of(client)["limits"]))
    limits.count_caller({}, Caller(owner, "user"))
    limits.count_caller({}, Caller("a", "user"))
    with pytest.raises(TooMany):
        limits.count_caller({}, Caller(owner, "user"))
    for counted in stored(client, "limits"):
        assert counted["_id"].isascii()
        assert counted["_id"].isprintable()
        assert " " not in counted["_id"]
        assert len(counted["_id"]) < 250


def test_each_key_of_an_owner_is_counted_by_itself() -> None:
    limits = RateLimits(parse_many("1/minute"), MemoryCounts())
    for key in ("one", "other"):
        limits.count_caller({}, Caller("eve", "user", None, key))
        with pytest.raises(TooMany):
            limits.count_caller({}, Caller("eve", "user", None, key))


def test_several_limits_hold_together() -> None:
    limits = RateLimits(parse_many("3/minute; 2/second"), MemoryCounts())
    said = []
    for _ in range(2):
        environ: dict[str, Any] = {}
        limits.count_caller(environ, EVE)
        said.append(dict(environ[MORE_HEADERS]))
    assert [(one["RateLimit-Limit"], one["RateLimit-Remaining"]) for one in said] == [("2", "1"), ("2", "0")]
    assert said[0]["RateLimit-Policy"] == "2;w=1, 3;w=60"
    with pytest.raises(TooMany, match="2 in 1 seconds"):
        limits.count_caller({}, EVE)


@pytest.mark.parametrize(
    ("address", "other", "shared"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("", "", True),
        ("unix:", "no:address", False),
    ],
)
def test_an_address_is_what_one_client_has(address: str, other: str, shared: bool) -> None:
    limits = RateLimits(parse_many("1/minute"), MemoryCounts())
    limits.count_address({"REMOTE_ADDR": address})
    if shared:
        with pytest.raises(TooMany):
            limits.count_address({"REMOTE_ADDR": other})
    else:
        limits.count_address({"REMOTE_ADDR": other})


def test_memory_is_bounded_whoever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "MANY", 10)
    counts = MemoryCounts()
    for number in range(100):
        counts.counted(f"address:{number}", 60)
    assert counts.reset() <= 10


def test_what_the_database_counts_ends_with_its_window(client: Client) -> None:
    collection = database_of(client)["limits"]
    counts = DatabaseCounts(counts=collection)
    assert [counts.counted("a", 60)[0] for _ in range(3)] == [1, 2, 3]
    assert (counts.get("a"), counts.get("b"), counts.check()) == (3, 0, True)
    collection.update_one({"_id": "a"}, [{"$set": {"expires": {"$subtract": ["$$NOW", 1]}}}])
    count, seconds = counts.counted("a", 60)
    assert count == 1
    assert 59 < seconds <= 60


def test_a_storage_of_the_package_does_as_well() -> None:
    """Redis and Memcached have the two steps that this one has."""
    limits = RateLimits(parse_many("2/minute"), MemoryStorage())
    environ: dict[str, Any] = {}
    limits.count_caller(environ, EVE)
    said = dict(environ[MORE_HEADERS])
    assert (said["RateLimit-Remaining"], 58 < int(said["RateLimit-Reset"]) <= 60) == ("1", True)
    limits.count_caller({}, EVE)
    with pytest.raises(TooMany):
        limits.count_caller({}, EVE)
