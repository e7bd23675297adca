"""What Eve and its parts do by themselves and must not do here: overrides, other formats, second clients."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask_pymongo
import pymongo
import pytest
from bson import ObjectId
from pymongo import MongoClient

from api.hooks import hook
from ml.database.client import database_of
from tests.conftest import Api

Client = MongoClient[dict[str, Any]]


@pytest.fixture
def inputs(client: Client) -> Any:
    return database_of(client)["inputs"]


def test_the_method_cannot_be_overridden(api: Api, inputs: Any) -> None:
    path = f"inputs/{api.post('inputs', json={'data': [1]}).json['_id']}"
    for method in ("PATCH", "DELETE", "PUT"):
        for name in ("X-HTTP-Method-Override", "X-Http-Method", "X-Method-Override"):
            answer = api.post(path, json={"tags": ["x"]}, headers={name: method, "If-Match": "*"})
            assert (answer.status_code, answer.json["_error"]["message"]) == (405, "POST is not allowed here")
            assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}
        assert api.post(f"{path}?_method={method}", json={}, headers={"If-Match": "*"}).status_code == 405
    assert inputs.count_documents({"tags": {"$exists": False}}) == 1


@pytest.mark.parametrize("resource", ["models", "inputs", "results", "jobs", "deliveries"])
def test_collections_are_not_deleted_and_documents_not_put(api: Api, inputs: Any, resource: str) -> None:
    inputs.insert_one({"data": [1]})
    for method, path in (
        ("delete", resource),
        ("patch", resource),
        ("put", resource),
        ("put", f"{resource}/{'0' * 24}"),
    ):
        answer = getattr(api, method)(path, json={}, headers={"If-Match": "*"})
        assert (answer.status_code, answer.json["_error"]["code"]) == (405, 405)
        assert "GET" in answer.headers["Allow"]
    assert inputs.count_documents({}) == 1


def test_there_is_json_alone(api: Api) -> None:
    made = api.post("inputs", json={"data": [1]}).json
    for accept in ("application/xml", "text/xml", "text/plain", "application/javascript", "*/*"):
        for path in ("inputs", f"inputs/{made['_id']}", "/api/v1/"):
            answer = api.get(path, headers={"Accept": accept})
            assert (answer.status_code, answer.mimetype) == (200, "application/json")
            json.loads(answer.data)


def test_other_origins_are_given_nothing(api: Api) -> None:
    for method in ("get", "options"):
        answer = getattr(api, method)("inputs", headers={"Origin": "https://evil.example"})
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]


def test_extended_json_is_json(api: Api, inputs: Any) -> None:
    """Flask-PyMongo's provider would make an ObjectId, a date or bytes of these."""
    for value in ({"$oid": "0" * 24}, {"$date": 0}, {"$binary": {"base64": "", "subType": "00"}}, {"$numberLong": "1"}):
        assert api.post("inputs", json={"data": [1], "meta": {"a": value}}).status_code == 422
        assert api.post("inputs", json={"data": value}).status_code == 422
    assert inputs.count_documents({}) == 0
    made = api.post("inputs", json={"data": [1], "meta": {"a": "0" * 24, "b": "2026-01-01T00:00:00Z"}}).json
    stored = inputs.find_one({"_id": ObjectId(made["_id"])})
    assert stored["meta"] == {"a": "0" * 24, "b": "2026-01-01T00:00:00Z"}


def test_there_is_one_client(client: Client, make_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a second client was made")

    monkeypatch.setattr(pymongo.MongoClient, "__init__", refuse)
    monkeypatch.setattr(flask_pymongo.wrappers.MongoClient, "__init__", refuse)
    app = make_api(client).http.application
    assert app.data.pymongo("inputs").cx is client
    assert app.extensions["pymongo"].cx is client
    assert make_api(client).get("inputs").status_code == 200


def test_no_settings_file_is_looked_for(tmp_path: Path) -> None:
    """Eve would walk all of sys.path for a settings.py, and run it."""
    (tmp_path / "settings.py").write_text("raise SystemExit('the wrong settings.py was run')\n")
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from api import create_app
from ml.database.client import connect
from settings import Settings
create_app(Settings(data_dir={str(tmp_path)!r}, _env_file=None), connect("mongodb://127.0.0.1:1/almanac"))
"""
    program = tmp_path / "main.py"
    program.write_text(code)
    environment = {"EVE_SETTINGS": str(tmp_path / "settings.py"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_an_app_builds_no_index(client: Client, make_api: Callable[..., Api]) -> None:
    """That is done in one place, once, before any app is made."""
    app = make_api(client).http.application
    assert not any(entry.get("mongo_indexes") for entry in app.config["DOMAIN"].values())


def test_nothing_is_unique_by_a_query_alone(api: Api) -> None:
    def rules(schema: Any) -> set[str]:
        # `meta` holds no rules: what the OpenAPI document says of the field.
        below = [rule for name, rule in schema.items() if isinstance(rule, dict) and name != "meta"]
        return set(schema) | set().union(*map(rules, below), set())

    for entry in api.http.application.config["DOMAIN"].values():
        assert "type" in rules(entry["schema"])
        assert not [name for name in rules(entry["schema"]) if name.startswith("unique")]


def test_a_misspelled_hook_is_refused(api: Api) -> None:
    app = api.http.application
    for event in ("on_fetched_resorce", "on_insert_input", "on_Insert", ""):
        with pytest.raises(ValueError, match="Eve has no event"):
            hook(app, event, lambda *_: None)
    called = []
    hook(app, "on_post_GET", lambda *args: called.append(args[0]))
    api.get("inputs")
    assert called == ["inputs"]


def test_aggregation_is_not_exposed(api: Api, inputs: Any) -> None:
    inputs.insert_one({"data": [1]})
    for name in ("aggregate", "aggregation"):
        answer = api.get("inputs", query_string={name: '{"$match": {}}'})
        assert (answer.status_code, list(answer.json["_issues"])) == (400, [name])
    assert not any(e["datasource"].get("aggregation") for e in api.http.application.config["DOMAIN"].values())
