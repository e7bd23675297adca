"""How many inputs a job would be over: told from an index where it can be, and else of so many that were looked at."""

from __future__ import annotations

from typing import Any

import pytest
from bson import ObjectId

from ml.database.client import database_of
from ml.database.documents import stamp_new
from ml.jobs import matching as module
from ml.jobs.matching import Matching, matching
from ml.jobs.requests import rows_filter
from tests.integration.rest import Client

ALICE = {"owner": "alice"}


class Explained:
    """A database that says of each count what it reads."""

    def __init__(self, db: Any) -> None:
        self._db = db
        self.documents = self.keys = 0

    def __getitem__(self, name: str) -> Any:
        return self._db[name]

    def command(self, name: str, of: str, **more: Any) -> Any:
        limit = {key: value for key, value in more.items() if key != "maxTimeMS"}
        plan = self._db.command("explain", {name: of, **limit}, verbosity="executionStats")["executionStats"]
        self.documents += plan["totalDocsExamined"]
        self.keys += plan["totalKeysExamined"]
        return self._db.command(name, of, **more)


@pytest.fixture
def db(client: Client) -> Any:
    """1,000 of predict's inputs, 1,000 of alice's with tags, 1,000 of bob's for a model, and one that has no owner."""
    made: list[dict[str, Any]] = []
    for n in range(1000):
        common = {"data": [n], "meta": {"n": n}}
        made.append(stamp_new({"_id": ObjectId(), **common, "source": "predict"}, "alice" if n % 2 else "bob"))
        made.append(
            stamp_new(
                {"_id": ObjectId(), **common, "source": "rest", "tags": ["a", f"n{n % 10}", *["first"] * (n == 0)]},
                "alice",
            )
        )
        made.append(stamp_new({"_id": ObjectId(), **common, "model": "sums"}, "bob"))
    db = database_of(client)
    db["inputs"].insert_many([*made, {"data": [0]}])
    return db


BY_INDEX: list[tuple[dict[str, Any], dict[str, Any], int]] = [
    ({}, {}, 2001),
    ({}, ALICE, 1000),
    ({"source": "predict"}, {}, 1000),
    ({"source": "predict"}, ALICE, 500),
    ({"source": {"$nin": []}}, {}, 3001),
    ({"model": "sums"}, {}, 1000),
    ({"tags": "a"}, {}, 1000),
    ({"tags": "a"}, ALICE, 1000),
    ({"$and": [{"tags": "n7"}, {"source": "rest"}]}, {}, 100),
]


@pytest.mark.parametrize(("where", "scope", "count"), BY_INDEX)
def test_what_an_index_has_is_counted_from_it_alone_and_no_further_than_is_asked(
    db: Any, where: dict[str, Any], scope: dict[str, Any], count: int
) -> None:
    explained: Any = Explained(db)
    query = rows_filter({"where": where, "scope": scope})
    assert matching(explained, query, 10_000) == Matching(count)
    assert explained.documents == 0
    explained.keys = 0
    assert matching(explained, query, 5) == Matching(min(count, 6))
    assert explained.keys <= 150


def test_for_anything_else_so_many_are_looked_at(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    low = {"meta.n": {"$lt": 10}}
    asked = [({**low}, {}), ({"tags": "a", **low}, {}), ({"$or": [low, {"meta.n": 99}]}, ALICE)]
    found = [matching(db, rows_filter({"where": where, "scope": scope}), 1000) for where, scope in asked]
    assert found == [Matching(20), Matching(10), Matching(11)], "all, where these are not many"
    monkeypatch.setattr(module, "MOST_READ", 50)
    for where, scope in asked:
        some = matching(db, rows_filter({"where": where, "scope": scope}), 1000)
        assert some is not None
        assert some.of == 50
        assert 0 <= some.count <= 20
    few = rows_filter({"where": {"tags": "first", **low}, "scope": {}})
    assert matching(db, few, 1000) == Matching(1)
