"""Who guesses keys or passwords is refused after a few, without a look; who has a key that is known here is not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from pymongo import MongoClient, monitoring

from api.auth.keys import KEY_FILE
from ml.errors import TooManyFailures
from ml.identity import failures, identity
from ml.identity.failures import Failures, network_of
from ml.identity.keys import new_key
from tests.conftest import Api
from tests.integration.identity.people import PASSWORD, logged_in, make_key, make_user, status
from tests.waiting import until

ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7"}


class Finds(monitoring.CommandListener):
    """The collections that were read."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name == "find":
            self.seen.append(event.command["find"])

    def succeeded(self, event: Any) -> None: ...
    def failed(self, event: Any) -> None: ...


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked again by the clock."""
    monkeypatch.setattr(identity, "PERIOD", 60.0)


def test_guessed_keys_are_throttled_by_address(admin: Api) -> None:
    known = admin.as_caller(make_key(admin)["key"])
    other = admin.as_caller(make_key(admin)["key"])
    assert status(known) == 200
    answers = [admin.as_caller(new_key()).get("inputs") for _ in range(identity.MOST_OF_ADDRESS + 5)]
    codes = [answer.status_code for answer in answers]
    assert codes == [401] * identity.MOST_OF_ADDRESS + [429] * 5
    assert 50 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert answers[-1].json["_error"]["code"] == 429
    # Neither who is known here, nor the administrator, nor anyone elsewhere.
    assert [status(known), status(admin)] == [200, 200]
    assert status(other) == 429
    assert other.get("inputs", environ_base=ELSEWHERE).status_code == 200
    assert status(other) == 200


def test_who_is_throttled_costs_the_database_nothing(
    replica: Callable[..., Api], mongod: str, slow: None, client: Any
) -> None:
    finds = Finds()
    app = replica(MongoClient(mongod, event_listeners=[finds], tz_aware=True))
    for _ in range(identity.MOST_OF_ADDRESS):
        assert status(app.as_caller(new_key())) == 401
    assert finds.seen == ["keys"] * identity.MOST_OF_ADDRESS
    for _ in range(5):
        assert status(app.as_caller(new_key())) == 429
        assert status(logged_in(app)) == 429
    # And what is not in the form of a key is never looked up.
    assert app.as_caller("wrong").get("inputs", environ_base=ELSEWHERE).status_code == 401
    assert len(finds.seen) == identity.MOST_OF_ADDRESS


def test_an_old_key_that_a_program_keeps_sending_is_one_failure(admin: Api) -> None:
    old, good = admin.as_caller(new_key()), make_key(admin)
    assert {status(old) for _ in range(3 * identity.MOST_OF_ADDRESS)} == {401}
    assert status(admin.as_caller(good["key"])) == 200


def test_a_refused_prediction_counts_once(admin: Api, client: Any, stub: Callable[..., Any]) -> None:
    """It is looked at before Flask, and again by the route."""
    stub(client)
    body, path = {"instances": [[1, 2, 3]], "store": "none"}, "models/sums/predict"
    for _ in range(2):
        assert admin.post(path, json=body).status_code == 200
    codes = [admin.as_caller(new_key()).post(path, json=body).status_code for _ in range(identity.MOST_OF_ADDRESS + 1)]
    assert codes == [401] * identity.MOST_OF_ADDRESS + [429]


def test_guessed_passwords_are_throttled_by_name(
    admin: Api, monkeypatch: pytest.MonkeyPatch, replica: Callable[..., Api]
) -> None:
    make_user(admin)
    make_user(admin, "carol")
    bob = logged_in(admin)
    assert status(bob) == 200
    monkeypatch.setattr(identity, "is_password", lambda given, stored: given == PASSWORD)
    for name in ("bob", "nobody"):
        addresses = [{"REMOTE_ADDR": f"192.0.2.{n}"} for n in range(identity.MOST_OF_NAME + 1)]
        codes = [
            logged_in(admin, name, f"guess {n}").get("inputs", environ_base=address).status_code
            for n, address in enumerate(addresses)
        ]
        assert codes == [401] * identity.MOST_OF_NAME + [429]
    # The right password from elsewhere is not even tried; who is logged in stays so, for longer than a minute.
    assert logged_in(replica()).get("inputs").status_code == 200
    monkeypatch.setattr("ml.identity.proofs.FRESH_SECONDS", 0.0)
    assert [status(bob), status(logged_in(admin, "carol"))] == [200, 200]


def test_a_window_slides(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(failures.time, "monotonic", lambda: now)
    window = Failures(3, 60.0, "here")
    for number in range(3):
        window.check("a")
        window.note("a", str(number))
        now += 10
    with pytest.raises(TooManyFailures) as caught:
        window.check("a")
    assert caught.value.seconds == 30
    window.check("b")
    now += 31
    window.check("a")
    window.note("a", "3")
    with pytest.raises(TooManyFailures):
        window.check("a")


def test_few_windows_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "MOST_WATCHED", 2)
    window = Failures(1, 60.0, "here")
    for who in "abc":
        window.note(who, "x")
    window.check("a")
    for who in "bc":
        with pytest.raises(TooManyFailures):
            window.check(who)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_one_client_has_many_addresses(address: str, network: str) -> None:
    assert network_of(address) == network


def test_few_passwords_are_verified_at_once(admin: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "WAIT_SECONDS", 0.0)
    go, inside, most = threading.Event(), [], []

    def verify(given: str, stored: str) -> bool:
        inside.append(given)
        most.append(len(inside))
        assert go.wait(20)
        inside.remove(given)
        return False

    monkeypatch.setattr(identity, "is_password", verify)
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: codes.append(status(logged_in(admin, f"u{n}", "wrong")))) for n in range(6)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(codes) == 4)
    go.set()
    for thread in threads:
        thread.join()
    assert (sorted(codes), max(most)) == ([401, 401, 503, 503, 503, 503], identity.AT_ONCE)


def test_the_administrators_key_of_the_settings_is_always_valid(replica: Callable[..., Api], tmp_path: Any) -> None:
    app = replica()
    assert not (tmp_path / KEY_FILE).exists()
    for _ in range(identity.MOST_OF_ADDRESS + 1):
        app.as_caller(new_key()).get("inputs")
    assert status(app) == 200
