"""The corpus of bad inputs: each gets the answer that stands beside it, and nothing is stored of any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bson import ObjectId
from flask.testing import FlaskClient

from api import create_app
from ml.database.client import database_of
from settings import Settings
from tests.conftest import ADMIN_KEY, Tokens, add_stub
from tests.corpus.reading import builder, entries
from tests.integration.hostile import ID, check, stored
from tests.integration.rest import Client, tensor

ENTRIES = entries()
#: Of another owner than `user:eve`.
FOREIGN = "65a0c0ffee65a0c0ffee65a1"


@pytest.fixture(scope="module")
def served(_client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FlaskClient, Client]]:
    """An app, and its database, with a model of every kind, and a document with the same id in every collection."""
    db, directory = database_of(_client), tmp_path_factory.mktemp("corpus")
    for name in db.list_collection_names():
        if name != "meta":
            db[name].delete_many({})
    add_stub(_client, directory, aliases={"stable": 1})
    add_stub(_client, directory, version=2, state="loading")
    add_stub(_client, directory, "gone", state="failed")
    for name, *inputs in (
        ("pair", tensor("a", "FP32", 2), tensor("b", "INT32", 1)),
        ("flags", tensor("x", "BOOL", 2)),
        ("words", tensor("x", "BYTES", 2)),
        ("whole", tensor("x", "INT8", 2)),
        ("picture", tensor("x", "UINT8", 4, 4, 3)),
        ("free", {"name": "x", "dtype": "FP32", "shape": [None, 2]}),
    ):
        add_stub(_client, directory, name, inputs=list(inputs))
    for id_, owner in ((ID, "admin"), (FOREIGN, "adam")):
        id_ = ObjectId(id_)
        db["inputs"].insert_one({"_id": id_, "data": [1, 2, 3], "tags": ["a"], "meta": {"a": [1]}, "owner": owner})
        db["results"].insert_one({"_id": id_, "input": id_, "output": {"y": [1.0]}, "label": "a", "owner": owner})
        db["jobs"].insert_one(
            {"_id": id_, "model": "sums", "version": 1, "status": "canceled", "fence": 0, "owner": owner}
        )
        db["deliveries"].insert_one({"_id": id_, "job": id_, "event": "ended", "status": "delivered", "owner": owner})
    settings = Settings(data_dir=directory, admin_key=ADMIN_KEY, max_body_mb=1, _env_file=None)
    app = create_app(settings, _client, Tokens())
    yield app.test_client(), _client
    app.extensions["service"].close()


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["id"] for entry in ENTRIES])
def test_a_bad_input_gets_its_answer(served: tuple[FlaskClient, Client], entry: dict[str, Any]) -> None:
    http, client = served
    before = stored(client)
    answer = http.open(builder(entry, ADMIN_KEY))
    assert answer.status_code == entry["code"], answer.text
    check(answer)
    issues = dict(answer.json.get("_issues", {}))
    for index, item in enumerate(answer.json.get("_items", ())):
        issues |= {f"[{index}].{field}": reason for field, reason in item.get("_issues", {}).items()}
    if "issue" in entry:
        assert entry["issue"] in issues, issues
    said = f"{answer.json['_error']['message']}\n{issues}"
    assert entry.get("says", "") in said
    assert len(said) < 5000, "a message is for people"
    assert "Set-Cookie" not in answer.headers
    assert stored(client) == before


def test_there_are_as_many_as_are_promised() -> None:
    assert len(ENTRIES) == len({entry["id"] for entry in ENTRIES}) >= 300
