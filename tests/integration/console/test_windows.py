"""Windows of results: everything is found window by window, once, and no page reads more than that, of 100,000."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent

from api import create_app
from ml.database import client as database_client
from ml.database.client import connect, database_of
from ml.identity.keys import create_key
from ml.review import Review, Wanted, kept, windows
from ml.review.marks import truth_text
from settings import Settings
from tests.conftest import ADMIN_KEY, add_stub
from tests.integration.console.browser import Visitor
from tests.integration.console.conftest import SECRET, forget_lists
from tests.integration.console.results import BEGAN, insert_result, result
from tests.integration.rest import Client

JOB = ObjectId("a" * 24)
MANY = 100_000
#: Beyond what its window has, a page reads a few documents: models, the caller, one result.
FEW = 500


@pytest.fixture(scope="module", autouse=True)
def _sound(_client: Client) -> None:
    forget_lists(_client)


def walk(review: Review, wanted: Wanted, scope: dict[str, Any]) -> list[ObjectId]:
    """All ids, window by window."""
    found: list[ObjectId] = []
    while True:
        found += review.ids(wanted, scope)
        further = review.further(wanted, scope)
        if further is None:
            return found
        until = further.until or wanted.until
        wanted = replace(wanted, until=until, passed=further.passed, after=further.after)


@pytest.fixture
def review(client: Client, stub: Callable[..., Any]) -> Review:
    """Over results of two versions."""
    stub(client, version=1)
    stub(client, version=2)
    return Review(database_of(client))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of seven."""
    for module in ("ml.review.windows", "ml.review.results"):
        monkeypatch.setattr(f"{module}.WINDOW", 7)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("same", [1, 3, 10, 100])
@pytest.mark.parametrize("owner", [None, "alice"])
def test_windows_have_everything_once_however_many_share_a_time(
    client: Client, review: Review, same: int, owner: str | None
) -> None:
    db = database_of(client)
    made = [result(n // same, "alice" if n % 2 else "bob", version=1 + n % 2, score=0.5) for n in range(60)]
    db["results"].insert_many(made)
    scope = {"owner": owner} if owner else {}
    wanted = [one["_id"] for one in made if owner is None or one["owner"] == owner]
    for asked in (Wanted(), Wanted(model="sums"), Wanted(least=True)):
        assert sorted(walk(review, asked, scope)) == sorted(wanted)
    newest = [one["_created"] for one in review.page(Wanted(), scope, 0, 7)]
    assert newest == sorted((one["_created"] for one in made if one["_id"] in wanted), reverse=True)[:7]
    of_two = [one["_id"] for one in made if one["_id"] in wanted and one["version"] == 2]
    assert sorted(walk(review, Wanted(model="sums", version=2), scope)) == sorted(of_two)


@pytest.mark.usefixtures("small")
def test_a_jobs_results_are_in_the_order_of_its_inputs(client: Client, review: Review) -> None:
    db = database_of(client)
    ids = [ObjectId() for _ in range(20)]
    made = [result(n, input=id_, job=JOB, status="failed" if n % 2 else "succeeded") for n, id_ in enumerate(ids)]
    db["results"].insert_many([*reversed(made), result(job=ObjectId(), input=ids[0])])
    assert walk(review, Wanted(job=JOB), {}) == [one["_id"] for one in made]
    failed = walk(review, Wanted(job=JOB, status="failed"), {})
    assert failed == sorted(one["_id"] for one in made if one["status"] == "failed")
    assert walk(review, Wanted(job=JOB), {"owner": "bob"}) == []


def test_filters(client: Client, review: Review) -> None:
    db = database_of(client)
    marked = {
        "right": ("a", "a"),
        "wrong": ("a", "b"),
        "none": ("a", None),
        "number": ("7", 7.0),
        "yes": ("true", True),
    }
    ids = {
        name: ObjectId(insert_result(db, at, label=label, score=0.5, **({} if truth is None else {"truth": truth})))
        for at, (name, (label, truth)) in enumerate(marked.items())
    }
    ids["cleared"] = ObjectId(insert_result(db, 9, label="a", truth=None))
    ids["list"] = ObjectId(insert_result(db, 8, label="a", truth=["a"]))
    ids["failed"] = ObjectId(insert_result(db, 10, status="failed"))

    def found(**asked: Any) -> set[str]:
        names = {id_: name for name, id_ in ids.items()}
        both = [review.ids(Wanted(model="sums", version=version, **asked), {}) for version in (1, None)]
        assert sorted(both[0]) == sorted(both[1]), "by the index of marks, and without it"
        return {names[id_] for id_ in both[0]}

    assert found(marked="yes") == {"right", "wrong", "number", "yes", "list"}
    assert found(marked="no") == {"none", "cleared", "failed"}
    assert found(marked="right") == {"right", "number", "yes"}
    assert found(marked="wrong") == {"wrong"}
    assert found(truth="7") == {"number"}
    assert found(truth="true") == {"yes"}
    assert found(truth="b", label="a") == {"wrong"}
    assert found(label="a", marked="no") == {"none", "cleared"}
    assert found(status="failed") == {"failed"}
    assert found(since=BEGAN + timedelta(seconds=10)) == {"failed"}
    assert found(until=BEGAN) == {"right"}
    assert review.first_unmarked([ids["right"], ids["cleared"], ids["none"]], {}) == ids["cleared"]
    assert review.first_unmarked([ids["right"]], {}) is None


def test_the_least_certain_of_two_classes_is_the_one_in_the_middle(client: Client, stub: Any, review: Review) -> None:
    stub(client, name="two", classes=["no", "yes"], outputs=[{"name": "p", "dtype": "FP32", "shape": [1]}])
    db = database_of(client)
    two = [ObjectId(insert_result(db, model="two", score=score)) for score in (0.01, 0.97, 0.6, 0.45)]
    assert review.ids(Wanted(model="two", version=1, least=True), {}) == [two[3], two[2], two[1], two[0]]
    many = [ObjectId(insert_result(db, model="sums", score=score)) for score in (0.9, 0.2, 0.4)]
    insert_result(db, model="sums")
    assert review.ids(Wanted(model="sums", version=1, least=True), {}) == [many[1], many[2], many[0]]


def test_marks_are_counted_by_owner_as_people_write_them(client: Client, review: Review) -> None:
    db = database_of(client)
    for owner, label, truth in (
        ("alice", "a", "a"),
        ("alice", "a", "b"),
        ("bob", "7", 7),
        ("bob", "7", 7.0),
        ("bob", "a", None),
    ):
        insert_result(db, owner=owner, label=label, truth=truth)
    insert_result(db, owner="bob", truth=3.5)
    insert_result(db, owner="bob", truth=["a"], label="a")
    insert_result(db, owner="bob", version=2, truth="a", label="a")
    marks = review.marks("sums", 1, {})
    assert {(pair.truth, pair.label): pair.count for pair in marks.pairs} == {
        ("a", "a"): 1,
        ("b", "a"): 1,
        ("7", "7"): 2,
        ("3.5", None): 1,
    }
    assert (marks.total, marks.compared, marks.right, marks.accuracy) == (5, 4, 3, 0.75)
    assert review.marks("sums", 1, {"owner": "alice"}).accuracy == 0.5
    assert review.marks("sums", 3, {}).accuracy is None
    assert [truth_text(value) for value in (True, 7.0, 7, 0.5, "x")] == ["true", "7", "7", "0.5", "x"]


@pytest.mark.usefixtures("small")
def test_what_is_marked_is_found_whether_or_not_it_fits_into_a_window(client: Client, review: Review) -> None:
    db = database_of(client)
    marks = ["a", "b", None]
    made = [result(n, label="a", score=0.5, **({"truth": marks[n % 3]} if n % 3 < 2 else {})) for n in range(24)]
    db["results"].insert_many(made)
    every = [one["_id"] for one in reversed(made) if one.get("truth")]
    wanted = Wanted(model="sums", version=1, marked="yes")
    assert walk(review, wanted, {}) == every
    assert walk(review, replace(wanted, marked="wrong"), {}) == [
        one["_id"] for one in reversed(made) if one.get("truth") == "b"
    ]
    # As many as fit are found at once, however far back they are.
    db["results"].update_many({"_id": {"$in": every[:-3]}}, {"$unset": {"truth": ""}})
    assert review.ids(wanted, {}) == every[-3:]
    assert review.further(wanted, {}) is None


def test_counts_of_many_marks_are_kept_for_a_moment(
    client: Client, review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = database_of(client)
    monkeypatch.setattr(kept, "FEW", 2)
    insert_result(db, label="a", truth="a")
    assert review.marks("sums", 1, {}).total == 1
    insert_result(db, label="a", truth="b")
    before = review.marks("sums", 1, {})
    assert before.total == 2, "few are counted each time"
    insert_result(db, label="a", truth="b")
    assert review.marks("sums", 1, {}) is before, "what another program marked is counted a little later"
    assert review.marks("sums", 1, {"owner": "admin"}).total == 3
    assert review.marks("sums", 2, {}).total == 0
    review.marked()
    after = review.marks("sums", 1, {})
    assert (after.total, after.at > before.at) == (3, True)
    insert_result(db, label="a", truth="b")
    monkeypatch.setattr(kept, "SECONDS", 0)
    assert review.marks("sums", 1, {}) is after
    review.marked()
    review.marks("sums", 1, {})
    insert_result(db, label="a", truth="b")
    assert review.marks("sums", 1, {}).total == 5, "it ends"


def test_what_is_marked_here_is_counted_at_once(
    client: Client, stub: Callable[..., Any], visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = database_of(client)
    stub(client, classes=["a", "b"])
    monkeypatch.setattr(kept, "FEW", 1)
    first, second = (insert_result(db, at, label="a", truth=truth) for at, truth in enumerate(("a", "b")))
    assert "1 of 2 marked results" in visitor.page("/console/models/sums/truth").text
    page = visitor.page(f"/console/results/{second}")
    visitor.sent(page.form("mark"), {"truth": "a"})
    assert "2 of 2 marked results" in visitor.page("/console/models/sums/truth").text
    answer = visitor.page(f"/api/v1/results/{first}").form("Delete a result")
    visitor.send(answer)
    assert "1 of 1 marked results" in visitor.page("/console/models/sums/truth").text


class Commands(CommandListener):
    """What is read of the collections that grow, by the thread of the test."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self._thread = threading.get_ident()

    def started(self, event: CommandStartedEvent) -> None:
        name = event.command_name
        if name in ("find", "aggregate") and threading.get_ident() == self._thread:
            command: dict[str, Any] = {
                key: value for key, value in event.command.items() if key not in ("lsid", "$db", "$clusterTime")
            }
            if command[name] in ("results", "inputs", "jobs"):
                self.seen.append(command)

    def succeeded(self, event: Any) -> None:
        """Nothing is to be noted."""

    def failed(self, event: Any) -> None:
        """Nothing is to be noted."""


def examined(plan: Any) -> int:
    """The documents that a plan read, as explain tells."""
    if isinstance(plan, dict):
        if "executionStats" in plan:
            return int(plan["executionStats"]["totalDocsExamined"])
        return sum(examined(value) for value in plan.values())
    return sum(examined(item) for item in plan) if isinstance(plan, list) else 0


@pytest.fixture(scope="module")
def many(_client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """100,000 results of two owners, half of them marked, a quarter a job's; and how to find one."""
    db = database_of(_client)
    for name in db.list_collection_names():
        if name != "meta":
            db[name].delete_many({})
    forget_lists(_client)
    add_stub(_client, tmp_path_factory.mktemp("stub"), classes=["a", "b"])
    ids = ObjectId()
    for chunk in range(0, MANY, 10_000):
        made = []
        for n in range(chunk, chunk + 10_000):
            at, owner = BEGAN + timedelta(milliseconds=n // 500), "alice" if n % 2 else "bob"
            one: dict[str, Any] = {"model": "sums", "version": 1, "owner": owner, "_created": at, "label": "a"}
            one.update(status="failed" if n % 5000 == 8 else "succeeded", score=n % 997 / 997)
            if n % 4 == 0:
                one.update(job=JOB, input=ObjectId(n.to_bytes(12, "big")))
            if n % 4 > 1:
                one["truth"] = "b" if n % 7 == 0 else "a"
            made.append(one)
        ids = db["results"].insert_many(made, ordered=False).inserted_ids[0]
    progress = {"total": 25_000, "done": 25_000, "failed": 20, "rows_per_second": None}
    job = {"_id": JOB, "model": "sums", "version": 1, "status": "succeeded", "progress": progress, "owner": "bob"}
    db["jobs"].insert_one({**job, "_created": BEGAN})
    yield {"job": JOB, "result": ids}
    for name in ("results", "jobs", "models", "registry"):
        db[name].delete_many({})


PAGES = (
    "/console/results",
    "/console/results?model=sums",
    "/console/results?model=sums&version=1&order=least&marked=no",
    "/console/results?order=least",
    "/console/results?label=nothing",
    "/console/results?marked=wrong",
    "/console/results?model=sums&version=1&marked=wrong",
    "/console/results?model=sums&version=1&truth=b&label=a",
    "/console/results?job={job}",
    "/console/results?job={job}&order=least&marked=no",
    "/console/results?job={job}&status=failed",
    "/console/results?status=failed",
    "/console/results?model=sums&version=1&page=100",
    "/console/results/{result}",
    "/console/results/{result}?model=sums&version=1&order=least",
    "/console/results/{result}?job={job}",
    "/console/models/sums/truth",
    "/console/jobs/{job}",
    "/console/jobs",
)


@pytest.mark.parametrize("role", ["admin", "user"])
def test_no_page_reads_more_than_a_window(
    many: dict[str, Any], mongod: str, role: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = Commands()
    monkeypatch.setattr(database_client, "MongoClient", functools.partial(MongoClient, event_listeners=[commands]))
    with connect(mongod) as listened:
        settings = Settings(data_dir=tmp_path, admin_key=ADMIN_KEY, secret_key=SECRET, _env_file=None)
        app = create_app(settings, listened)
        db = database_of(listened)
        visitor = Visitor(app.test_client())
        visitor.log_in(key=ADMIN_KEY if role == "admin" else create_key(db, "user", "bob")[1])
        for path in PAGES:
            commands.seen.clear()
            assert visitor.open(path.format(**many)).status_code == 200, path
            asked = list(commands.seen)
            assert asked, path
            read = [
                examined(db.command({"explain": command, "verbosity": "executionStats"}, check=False))
                for command in asked
            ]
            assert sum(read) <= windows.WINDOW + FEW, (path, read, asked)
        app.extensions["service"].close()
