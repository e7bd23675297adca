"""What tests share: a real mongod, a clean database, apps over either, and models without TensorFlow."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mongomock
import pytest
from flask.testing import FlaskClient
from mongomock.gridfs import enable_gridfs_integration
from pymongo import MongoClient
from werkzeug.test import TestResponse

from api import create_app
from api.application import Application
from api.auth.caller import Caller, Role
from api.auth.credentials import credentials_of, refusal
from ml.database.blobs import Blobs
from ml.database.client import connect, database_of
from ml.database.documents import stamp_new
from ml.database.embedded import EmbeddedError, EmbeddedMongo
from ml.database.indexes import prepare
from settings import Settings
from tests.recorded.client import RecordedClient
from tests.scheduling import pytest_collection_modifyitems, pytest_xdist_make_scheduler  # noqa: F401 (hooks)

ADMIN_KEY = "alm_test-key-of-the-administrator"

enable_gridfs_integration()

pytest_plugins = ["tests.recorded.plugin"]
#: Every test client of every app is one, whoever makes it.
Application.test_client_class = RecordedClient


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ALMANAC_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a real mongod, started once. Missing: a failure in CI, a skip with the reason elsewhere."""
    embedded = EmbeddedMongo(tmp_path_factory.mktemp("mongod"))
    try:
        uri = embedded.start()
    except EmbeddedError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no mongod: {error}")
    yield uri
    embedded.stop()


@pytest.fixture(scope="session")
def _client(mongod: str) -> Iterator[MongoClient[dict[str, Any]]]:
    client = connect(mongod)
    prepare(database_of(client))
    yield client
    client.close()


@pytest.fixture
def client(_client: MongoClient[dict[str, Any]]) -> MongoClient[dict[str, Any]]:
    """A client of the real mongod, whose collections are empty and prepared."""
    db = database_of(_client)
    for name in db.list_collection_names():
        if name != "meta":
            db[name].delete_many({})
    return _client


@pytest.fixture
def mock_client(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a database in memory."""
    # mongomock knows no write concern.
    monkeypatch.setattr(mongomock.Database, "with_options", lambda database, **_: database)
    client = mongomock.MongoClient("mongodb://localhost/almanac", tz_aware=True)
    client.options = SimpleNamespace(timeout=None)  # GridFS asks for it
    return client


class Tokens:
    """An authenticator for tests: a token `role:owner` is that caller's."""

    def authenticate(self, environ: Any) -> Caller:
        _, token = credentials_of(environ)
        roles: dict[str, Role] = {"admin": "admin", "editor": "editor", "user": "user", "reader": "reader"}
        if token == ADMIN_KEY:
            return Caller("admin", "admin")
        role, _, owner = token.partition(":")
        if not owner or role not in roles:
            raise refusal("the key is not valid")
        return Caller(owner, roles[role])


class Api:
    """A test client that sends a key, and JSON by default."""

    def __init__(self, http: FlaskClient, token: str | None = ADMIN_KEY) -> None:
        self.http = http
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __getattr__(self, method: str) -> Callable[..., TestResponse]:
        if method.startswith("_"):
            raise AttributeError(method)

        def send(path: str, *, headers: dict[str, str] | None = None, **kwargs: Any) -> TestResponse:
            url = path if path.startswith(("/", "http://")) else f"/api/v1/{path}"
            response: TestResponse = self.http.open(
                url, method=method.upper(), headers={**self.headers, **(headers or {})}, **kwargs
            )
            return response

        return send

    def as_caller(self, token: str | None) -> Api:
        """The same app for another caller."""
        return Api(self.http, token)


@pytest.fixture
def make_api(tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Makes an app over a client; its service is closed after the test."""
    services = []

    def make(client: Any, **settings: Any) -> Api:
        app = create_app(Settings(data_dir=tmp_path, admin_key=ADMIN_KEY, _env_file=None, **settings), client, Tokens())
        services.append(app.extensions["service"])
        return Api(app.test_client())

    yield make
    for service in services:
        service.close()


@pytest.fixture
def api(client: MongoClient[dict[str, Any]], make_api: Callable[..., Api]) -> Api:
    """An app over the real mongod."""
    return make_api(client)


@pytest.fixture
def mock_api(mock_client: Any, make_api: Callable[..., Api]) -> Api:
    """An app over a database in memory."""
    return make_api(mock_client)


def add_stub(
    client: Any,
    tmp_path: Path,
    name: str = "sums",
    version: int = 1,
    inputs: list[dict[str, Any]] | None = None,
    outputs: list[dict[str, Any]] | None = None,
    classes: list[str] | None = None,
    state: str = "available",
    owner: str = "admin",
    aliases: dict[str, int] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """A version of a model that the stub executor serves, as a build would have left it."""
    db = database_of(client)
    directory = tmp_path / f"stub-{name}-{version}"
    directory.mkdir(exist_ok=True)
    (directory / "stub.json").write_text(json.dumps(options))
    document: dict[str, Any] = {
        "name": name,
        "version": version,
        "state": state,
        "digest": "0" * 64,
        "size": 1,
        "inputs": inputs or [{"name": "x", "dtype": "FP32", "shape": [3]}],
        "outputs": outputs or [{"name": "y", "dtype": "FP32", "shape": [2]}],
        "aliases": sorted(alias for alias, number in (aliases or {}).items() if number == version),
        "executor": "stub",
        "artefacts": {"stub": Blobs(db).put_directory(directory, "stub.tar")},
        **({"classes": classes} if classes else {}),
    }
    db["models"].insert_one(stamp_new(document, owner))
    db["registry"].update_one(
        {"_id": name},
        {"$set": {"owner": owner, "aliases": aliases or {}}, "$max": {"next_version": version}},
        upsert=True,
    )
    return document


@pytest.fixture
def stub(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`add_stub` with this test's directory."""

    def add(client: Any, **kwargs: Any) -> dict[str, Any]:
        return add_stub(client, tmp_path, **kwargs)

    return add
