"""Keys between server processes: a revoked one stops on the other, a known one goes on without the database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from ml.database.client import connect, database_of
from ml.database.embedded import EmbeddedMongo
from ml.database.indexes import prepare
from tests.conftest import ADMIN_KEY, add_stub
from tests.end_to_end.almanac import ROOT, Almanac, free_port
from tests.waiting import until

PASSWORD = "four violet otters juggle"
BODY = {"instances": [[1, 2, 3]], "store": "none"}


class Pair:
    """Two servers over one database, whose mongod can be stopped."""

    def __init__(self, directory: Path) -> None:
        self.mongo = EmbeddedMongo(directory / "mongo")
        self.uri = self.mongo.start()
        client = connect(self.uri)
        prepare(database_of(client))
        add_stub(client, directory)
        client.close()
        self.directory = directory
        self.servers = [
            Almanac(directory / f"data-{number}", free_port(), "--no-jobs", **self.environment) for number in range(2)
        ]
        for server in self.servers:
            server.wait_for("^Almanac serves at")

    @property
    def environment(self) -> dict[str, str]:
        return {"ALMANAC_MONGO_URI": self.uri, "ALMANAC_ADMIN_KEY": ADMIN_KEY, "ALMANAC_LOG_LEVEL": "warning"}

    def ask(self, number: int, method: str, path: str, key: str | None = ADMIN_KEY, **kwargs: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}", "If-Match": "*"} if key else {}
        url = f"{self.servers[number].url}/api/v1/{path}"
        return requests.request(method, url, headers=headers, timeout=20, **kwargs)

    def predict(self, number: int, key: str | None, **kwargs: Any) -> int:
        code: int = self.ask(number, "POST", "models/sums/predict", key, json=BODY, **kwargs).status_code
        return code


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory.mktemp("pair"))
    yield made
    for server in made.servers:
        server.stop(signal.SIGKILL)
    made.mongo.stop()


def test_a_revoked_key_stops_on_a_second_server(pair: Pair) -> None:
    made = pair.ask(0, "POST", "keys", json={"role": "user", "owner": "alice"}).json()
    user = pair.ask(0, "POST", "users", json={"name": "bob", "role": "user", "password": PASSWORD}).json()
    assert [pair.predict(number, made["key"]) for number in (0, 1)] == [200, 200]
    assert [pair.predict(number, None, auth=("bob", PASSWORD)) for number in (0, 1)] == [200, 200]
    assert pair.ask(0, "DELETE", f"keys/{made['_id']}").status_code == 204
    assert pair.ask(0, "PATCH", f"users/{user['_id']}", json={"disabled": True}).status_code == 200
    revoked = time.monotonic()
    assert pair.predict(0, made["key"]) == pair.predict(0, None, auth=("bob", PASSWORD)) == 401
    until(lambda: pair.predict(1, made["key"]) == pair.predict(1, None, auth=("bob", PASSWORD)) == 401)
    assert time.monotonic() - revoked < 2


def test_a_key_of_the_command_line(pair: Pair) -> None:
    def create(*arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ALMANAC_")}
        command = [sys.executable, str(ROOT / "run.py"), "key", "create", *arguments]
        data = {"ALMANAC_DATA_DIR": str(pair.directory / "cli")}
        return subprocess.run(
            command, env={**kept, **pair.environment, **data}, capture_output=True, text=True, timeout=60
        )

    done = create("--role", "user", "--owner", "carol", "--models", "sums, other", "--expires-days", "2")
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    assert pair.predict(0, key) == 200
    [document] = pair.ask(0, "GET", "keys", params={"where": '{"owner": "carol"}'}).json()["_items"]
    assert (document["role"], document["models"], document["prefix"]) == ("user", ["sums", "other"], key[:8])
    assert document["_id"] in done.stderr
    assert key not in done.stderr
    assert document["expires"] > document["_created"]
    for wrong, code, words in (
        (["--role", "root", "--owner", "x"], 2, "is not one of 'admin', 'editor', 'user', 'reader'"),
        (["--role", "admin", "--owner", "x", "--models", "sums"], 1, "models: expected none for the role admin"),
    ):
        refused = create(*wrong)
        assert (refused.returncode, refused.stdout) == (code, "")
        assert words in refused.stderr


def test_a_known_key_predicts_without_the_database(pair: Pair) -> None:
    key = pair.ask(0, "POST", "keys", json={"role": "user", "owner": "alice"}).json()["key"]
    others = [pair.ask(0, "POST", "keys", json={"role": "user", "owner": "alice"}).json()["key"] for _ in range(2)]
    assert pair.ask(0, "POST", "users", json={"name": "dora", "role": "user", "password": PASSWORD}).status_code == 201
    dora: dict[str, Any] = {"auth": ("dora", PASSWORD)}
    assert [pair.predict(0, key), pair.predict(0, None, **dora)] == [200, 200]

    def known_go_on() -> None:
        for who, more in ((key, {}), (None, dora), (ADMIN_KEY, {})):
            began = time.monotonic()
            assert pair.predict(0, who, **more) == 200
            assert time.monotonic() - began < 1

    def is_told_at_once(unknown: str) -> bool:
        known_go_on()
        began = time.monotonic()
        answer = pair.ask(0, "POST", "models/sums/predict", unknown, json=BODY)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        return time.monotonic() - began < 0.5

    os.kill(pair.mongo.pid, signal.SIGSTOP)
    try:
        known_go_on()
        until(lambda: is_told_at_once(others[0]))
    finally:
        os.kill(pair.mongo.pid, signal.SIGCONT)
    until(lambda: pair.predict(0, others[0]) == 200)
    pair.mongo.stop()
    until(lambda: is_told_at_once(others[1]))
    known_go_on()
    assert [pair.predict(0, others[0]), pair.predict(1, others[0])] == [200, 503]
