"""All owners' documents by time: read in the order of an index, all of them, whatever an owner is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from ml.database import merging
from ml.database.client import database_of
from ml.database.indexes import prepare
from ml.database.merging import by_owner
from tests.conftest import Api
from tests.integration.console.results import BEGAN, result
from tests.integration.rest import Client


@pytest.fixture
def results(client: Client) -> Any:
    """60 of three owners, one of nobody's; with indexes in which nobody ever stored lists."""
    db = database_of(client)
    db["results"].drop_indexes()
    prepare(db)
    db["results"].insert_many([result(n, f"owner {n % 3}") for n in range(60)])
    db["results"].insert_one({"_id": ObjectId(), "model": "sums", "_created": BEGAN + timedelta(seconds=100)})
    return db["results"]


@pytest.mark.parametrize("order", [-1, 1])
def test_a_list_by_time_reads_what_it_shows(results: Any, api: Api, order: int) -> None:
    every = [str(one["_id"]) for one in results.find().sort("_created", order)]
    found = api.get(f"results?sort={'-' if order < 0 else ''}_created&max_results=20&count=true").json
    assert [one["_id"] for one in found["_items"]] == every[:20]
    assert found["_meta"]["total"] == 61
    second = api.get(f"results?sort={'-' if order < 0 else ''}_created&max_results=20&page=2").json
    assert [one["_id"] for one in second["_items"]] == every[20:40]
    plan = results.find(by_owner(results)).sort("_created", order).limit(20).explain()
    assert plan["executionStats"]["totalDocsExamined"] <= 25
    assert "'SORT'" not in str(plan["queryPlanner"]["winningPlan"])


def test_what_other_programs_have_for_an_owner_is_there(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = [7, ["a", "owner 1"], {"$gt": ""}, None, True]
    for at, owner in enumerate(strange):
        results.insert_one(
            {"_id": ObjectId(), "model": "sums", "owner": owner, "_created": BEGAN - timedelta(seconds=at + 1)}
        )

    def ids() -> list[ObjectId]:
        return [one["_id"] for one in results.find(by_owner(results) or {}).sort("_created", -1)]

    every = [one["_id"] for one in results.find().sort("_created", -1)]
    assert by_owner(results) is not None
    assert ids() == every
    monkeypatch.setattr(merging, "MOST_OWNERS", 3)
    assert by_owner(results) is None
    assert ids() == every
    results.drop_index("owner_created")
    assert by_owner(results) is None
    results.delete_many({})
    prepare(results.database)


def test_a_query_stays_as_it_is_asked(results: Any, api: Api) -> None:
    assert len(api.as_caller("user:owner 1").get("results?sort=-_created").json["_items"]) == 20
    found = api.get('results?sort=-_created&where={"owner":"owner 2"}&max_results=100').json["_items"]
    assert {one["owner"] for one in found} == {"owner 2"}
