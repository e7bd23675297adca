"""Jobs as pages: submitted from a form, counted before, steered by buttons; refusals keep what was typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId

from api.console.job_form import job_form_of
from api.console.progress import progress_of, span
from ml.database.client import database_of
from ml.service import Service
from tests.conftest import Api
from tests.integration.console.browser import Page, Visitor
from tests.integration.console.results import insert_input
from tests.integration.jobs import work
from tests.integration.rest import Client

HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture
def db(client: Client, stub: Callable[..., Any]) -> Any:
    """With a model, two versions of it, and ten inputs."""
    stub(client, version=1, aliases={"stable": 1}, fail_on=6.0)
    stub(client, version=2, aliases={"stable": 1})
    made = database_of(client)
    for n in range(10):
        insert_input(made, [1.0, 2.0, float(n)], tags=["garden", f"n{n}"], meta={"bed": n % 2}, model="sums")
    insert_input(made, [1.0, 2.0, 3.0], "alice", tags=["garden"])
    made["inputs"].insert_one({"data": [0, 0, 0], "source": "predict", "owner": "admin", "tags": ["garden"]})
    return made


@pytest.fixture
def service(admin: Api) -> Service:
    found: Service = admin.http.application.extensions["service"]
    return found


def submit(visitor: Visitor, **fields: Any) -> Page:
    """Fill in the form and send it."""
    form = visitor.page("/console/jobs?new=1").form("job-form")
    return visitor.sent(form, {"target": "sums", **fields})


def job_on(page: Page) -> ObjectId:
    """The job that a page is of."""
    (found,) = [href for _, href in page.links if href.startswith("/api/v1/jobs/")]
    return ObjectId(found.removeprefix("/api/v1/jobs/"))


def test_a_job_is_submitted_watched_and_run_again(db: Any, visitor: Visitor, service: Service) -> None:
    page = visitor.page("/console/jobs")
    assert "There are no jobs yet" in page.text
    page = submit(visitor, tags="garden, n3", priority="7", meta=["bed", ""], meta_is=["1", ""], made_for="sums")
    assert "The job is submitted" in page.text
    id_ = job_on(page)
    job = db["jobs"].find_one({"_id": id_})
    assert job["where"] == {"$and": [{"tags": "garden"}, {"tags": "n3"}, {"model": "sums"}, {"meta.bed": 1}]}
    assert (job["priority"], job["version"], job["owner"]) == (7, 1, "admin")
    assert "queued" in page.text
    work(service)
    page = visitor.page(f"/console/jobs/{id_}")
    assert "1 of 1" in page.text
    assert "stub was told to fail on a row with the sum 6.0" in page.text, "1 + 2 + 3"
    (row,) = [href for _, href in page.links if href.startswith("/console/results/")]
    assert "Failed" in visitor.page(row).text
    assert visitor.page(page.link("Its results")).status == 200
    shown = [form for form in page.forms if form.action == f"/console/jobs/{id_}"]
    hidden = [given for tag, given in page.tags if tag == "form" and "hidden" in given]
    assert len(shown) - len(hidden) == 1
    page = visitor.sent(page.form("Run again what is missing or failed"))
    assert "The job is queued" in page.text
    assert "queued" in visitor.page("/console/jobs?status=queued").text
    assert "No job is paused" in visitor.page("/console/jobs?status=paused").text


def test_a_job_is_paused_resumed_hurried_and_canceled(db: Any, visitor: Visitor) -> None:
    page = submit(visitor, tags="garden")
    id_ = job_on(page)

    def state() -> tuple[str, int]:
        job = db["jobs"].find_one({"_id": id_})
        return job["status"], job["priority"]

    running = page
    for button, wanted in (("Pause", "paused"), ("Resume", "queued"), ("Cancel", "canceled")):
        page = visitor.sent(page.form(button))
        assert state() == (wanted, 5)
        assert f"The job is {wanted}" in page.text
    refused = visitor.sent(running.form("Pause"))
    assert refused.status == 409
    assert "from there it can be queued" in refused.text, refused.text
    page = visitor.sent(running.form("Change"), {"priority": "9"})
    assert state() == ("canceled", 9)
    refused = visitor.sent(running.form("Change"), {"priority": "x"})
    assert (refused.status, state()) == (422, ("canceled", 9))


@pytest.mark.parametrize(
    ("typed", "body"),
    [
        ({"target": "sums"}, {"model": "sums", "where": {}}),
        ({"target": "sums:2"}, {"model": "sums", "version": 2, "where": {}}),
        ({"target": "sums@stable"}, {"model": "sums", "alias": "stable", "where": {}}),
        ({"source": "other"}, {"where": {"source": {"$exists": False}}}),
        ({"source": "all", "where": '{"tags": "x"}'}, {"where": {"source": {"$nin": []}, "tags": "x"}}),
        ({"tags": "a", "where": '{"tags": "b"}'}, {"where": {"$and": [{"tags": "a"}, {"tags": "b"}]}}),
        (
            {"since": "2026-01-01T12:00", "until": "2026-01-01T12:00:00.5+02:00"},
            {"where": {"_created": {"$gte": "2026-01-01T12:00:00.000Z", "$lte": "2026-01-01T10:00:00.500Z"}}},
        ),
        ({"meta": ["a", "b"], "meta_is": ["text", '"7"']}, {"where": {"meta.a": "text", "meta.b": "7"}}),
        ({"ids": f"{'a' * 24},\r\n{'b' * 24}"}, {"inputs": ["a" * 24, "b" * 24]}),
        ({"follow": "true", "max_rows_per_second": "2.5", "priority": "0"},
         {"follow": True, "max_rows_per_second": 2.5, "priority": 0, "where": {}}),
        ({"webhook": "https://x.example/"}, {"webhook": {"url": "https://x.example/"}, "where": {}}),
    ],
)  # fmt: skip
def test_the_form_is_the_request_of_a_program(typed: dict[str, Any], body: dict[str, Any]) -> None:
    from werkzeug.datastructures import MultiDict

    form = job_form_of(MultiDict({"target": "sums", **typed}))
    assert form.body() == {"model": "sums", **body}
    assert form.errors == {}


REFUSED: list[tuple[dict[str, str], str]] = [
    ({"target": ""}, "choose a model"),
    ({"target": "nothing"}, "there is no model"),
    ({"target": "sums:9"}, "sums has no version 9"),
    ({"where": "{"}, "not a filter as JSON"),
    ({"where": "[1]"}, "expected an object"),
    ({"where": '{"$where": "1"}'}, "the operator is not one of"),
    ({"where": '{"color": 1}'}, "no such field"),
    ({"since": "yesterday"}, "expected a time such as"),
    ({"ids": "x"}, "expected an id of 24 hexadecimal digits"),
    ({"ids": "0" * 24}, "there is no input"),
    ({"ids": "0" * 24, "tags": "a"}, "either a list of ids or a filter"),
    ({"ids": "0" * 24, "follow": "true"}, "expected false where inputs are a list of ids"),
    ({"max_rows_per_second": "many"}, "number"),
    ({"webhook": "ftp://x"}, "http"),
]


def test_what_is_refused_is_said_at_the_form_which_keeps_what_was_typed(db: Any, visitor: Visitor) -> None:
    for typed, reason in REFUSED:
        page = submit(visitor, **typed)
        assert page.status in (404, 409, 422), typed
        assert reason in page.text, typed
        assert "The job was not submitted" in page.text
        form = page.form("job-form")
        for name, value in typed.items():
            if name not in ("follow", "since"):
                assert form.get(name) == value
    assert db["jobs"].count_documents({}) == 0


def test_a_form_that_is_sent_twice_is_one_job(db: Any, visitor: Visitor) -> None:
    form = visitor.page("/console/jobs?new=1").form("job-form")
    first = visitor.sent(form, {"target": "sums", "tags": "garden"})
    assert job_on(first) == job_on(visitor.sent(form, {"target": "sums", "tags": "garden"}))
    assert db["jobs"].count_documents({}) == 1


COUNTED = [
    ("tags=garden", "11 inputs match."),
    ("tags=n3", "1 input matches."),
    ("tags=garden&source=predict", "1 input matches."),
    ("tags=garden&source=all", "12 inputs match."),
    ("where={", ""),
    ("where={%22color%22:1}", ""),
    ("ids=" + "a" * 24, "1 listed"),
]


def test_what_a_filter_matches_is_counted(db: Any, visitor: Visitor) -> None:
    for query, text in COUNTED:
        counted = json.loads(visitor.open(f"/console/matching?{query}", headers={"Accept": "application/json"}).text)
        assert counted["text"] == text
        assert bool(counted["wrong"]) == (not text)
        if text:
            assert text in visitor.page(f"/console/jobs?new=1&{query}").text, "without a script"


def test_a_count_stops_at_many_and_where_it_takes_long(
    db: Any, visitor: Visitor, person: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    as_json = {"Accept": "application/json"}
    assert "1 input matches" in person().open("/console/matching?tags=garden", headers=as_json).text, "alice's"
    monkeypatch.setattr("api.console.jobs_page.MOST_COUNTED", 5)
    assert "More than 5 inputs match" in visitor.open("/console/matching?tags=garden", headers=as_json).text
    monkeypatch.setattr("ml.jobs.matching.MOST_READ", 3)
    answer = visitor.open('/console/matching?where={"meta.n":-1}', headers=as_json).json
    assert answer["text"] == "Of 3 inputs that were looked at 0 match; the job itself will count all."
    db["inputs"].insert_many([{"data": [n], "meta": {"n": n}} for n in range(20_000)])
    monkeypatch.setattr("ml.jobs.matching.MOST_READ", 20_000)
    monkeypatch.setattr("ml.jobs.matching.COUNT_MS", 1)
    answer = visitor.open('/console/matching?where={"meta.n":-1}', headers=as_json).json
    assert answer["text"] == "Counting takes longer than a moment; the job itself will count."


def test_failed_rows_are_read_by_pages(db: Any, visitor: Visitor, service: Service) -> None:
    for _ in range(45):
        insert_input(db, [1.0, 2.0, 3.0], tags=["bad"])
    id_ = job_on(submit(visitor, tags="bad"))
    work(service)
    seen: list[str] = []
    path: str | None = f"/console/jobs/{id_}"
    while path:
        page = visitor.page(path)
        seen += [href for _, href in page.links if href.startswith("/console/results/")]
        path = next((href for words, href in page.links if words == "More failed rows"), None)
    assert len(seen) == len(set(seen)) == 45


def test_an_owner_sees_no_one_elses_and_a_reader_no_buttons(
    db: Any, person: Callable[..., Visitor], service: Service
) -> None:
    alice, bob, reader = person(), person(owner="bob"), person("reader")
    page = submit(alice, tags="garden")
    id_ = job_on(page)
    assert str(id_) in alice.page("/console/jobs").source
    assert str(id_) not in bob.page("/console/jobs").source
    assert bob.open(f"/console/jobs/{id_}").status_code == 404
    cancel = page.form("Cancel")
    token = bob.page("/console/jobs").form("Log out").get("csrf_token")
    assert bob.send(cancel, {"csrf_token": token}).status_code == 404
    shown = reader.page(f"/console/jobs/{id_}")
    assert [form.action for form in shown.forms] == ["/logout"]
    listed = reader.page("/console/jobs")
    assert not listed.has_form("job-form")
    assert "Your role may look at jobs" in listed.text
    token = listed.form("Log out").get("csrf_token")
    assert reader.send(cancel, {"csrf_token": token}).status_code == 403
    assert alice.send(cancel, {"csrf_token": "x"}).status_code == 403
    assert db["jobs"].find_one({"_id": id_})["status"] == "queued"


def test_what_documents_hold_is_text_on_pages(db: Any, visitor: Visitor, client: Client, stub: Any) -> None:
    job = {"model": HOSTILE, "version": 1, "status": "failed", "error": HOSTILE, "owner": HOSTILE, "priority": 5}
    where = {"tags": HOSTILE, "meta": {HOSTILE: 1}}
    progress = {"total": 1, "done": 1, "failed": 1}
    id_ = db["jobs"].insert_one({**job, "where": where, "progress": progress}).inserted_id
    error = {"message": HOSTILE, "code": "x"}
    db["results"].insert_one({"job": id_, "status": "failed", "error": error, "input": HOSTILE})
    for path in ("/console/jobs", f"/console/jobs/{id_}", f"/console/jobs?new=1&target={HOSTILE}&tags={HOSTILE}"):
        page = visitor.page(path)
        assert page.status == 200
        assert HOSTILE in page.text or HOSTILE in page.form("job-form").get("tags")
        assert "<script>alert" not in page.source
        assert not [given for _, given in page.tags if "style" in given or any(name.startswith("on") for name in given)]


@pytest.mark.parametrize(
    "document",
    [{}, {"status": {"x": 1}, "progress": "y", "where": 3}, {"progress": {"total": "x", "done": -1}, "webhook": "z"}],
)
def test_what_other_programs_stored_is_shown_somehow(db: Any, visitor: Visitor, document: dict[str, Any]) -> None:
    id_ = db["jobs"].insert_one(document).inserted_id
    assert visitor.open("/console/jobs").status_code == 200
    assert visitor.open(f"/console/jobs/{id_}").status_code == 200


def test_progress_in_words() -> None:
    progress = {"total": 1000, "done": 250, "failed": 3, "rows_per_second": 5.2}
    shown = progress_of({"status": "running", "progress": progress})
    assert shown == {"done": 250, "total": 1000, "failed": 3, "rate": "5", "left": "2 min 24 s", "percent": 25}
    assert progress_of({"status": "paused", "progress": progress})["left"] is None
    assert progress_of({"status": "running", "follow": True, "progress": progress})["left"] is None
    assert progress_of({"status": "succeeded", "progress": {"total": 0, "done": 0}})["percent"] == 100
    assert [span(seconds) for seconds in (0.4, 59, 3599, 7300)] == ["0 s", "59 s", "59 min 59 s", "2 h 1 min"]


def test_nobody_can_submit_where_there_is_no_model(visitor: Visitor) -> None:
    page = visitor.page("/console/jobs")
    assert "There is no model that a job could run" in page.text
