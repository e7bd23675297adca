"""Waiting for jobs: a GET that prefers to wait, and Server-Sent Events; one change stream a process wakes them all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import ObjectId
from pymongo.database import Database
from pymongo.errors import OperationFailure

from api.routes import jobs as routes
from ml import following
from ml.database.client import database_of
from ml.jobs import states
from ml.jobs.worker import Worker
from ml.service import Service
from tests.conftest import Api
from tests.integration.rest import Client
from tests.waiting import until

#: A wait that this test is not to see the end of.
LONG = {"Prefer": "wait=60"}


@pytest.fixture(autouse=True)
def _model(client: Client, stub: Callable[..., Any]) -> None:
    stub(client)


@pytest.fixture
def service(api: Api) -> Service:
    made: Service = api.http.application.extensions["service"]
    return made


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The change streams that are opened."""
    opened: list[Any] = []
    watch = Database.watch

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        opened.append(watch(self, *args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(Database, "watch", counted)
    return opened


@pytest.fixture
def threads() -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Starts threads, and waits for them at the end."""
    started: list[threading.Thread] = []

    def start(target: Callable[[], Any]) -> None:
        started.append(threading.Thread(target=target))
        started[-1].start()

    yield start
    for thread in started:
        thread.join(20)
        assert not thread.is_alive()


def submit(api: Api, **fields: Any) -> str:
    id_: str = api.post("jobs", json={"model": "sums", **fields}).json["_id"]
    return id_


def other(api: Api) -> Api:
    """A client for another thread."""
    made = Api(api.http.application.test_client())
    made.headers = api.headers
    return made


def cancel(api: Api, job: str) -> None:
    assert api.patch(f"jobs/{job}", json={"status": "canceled"}, headers={"If-Match": "*"}).status_code == 200


class Stream:
    """The events of a job, as they come."""

    def __init__(self, api: Api, job: str, **headers: str) -> None:
        # Not through the test client, which reads an answer to its end.
        with api.http.application.test_request_context(
            f"/api/v1/jobs/{job}/events", headers={**api.headers, **headers}
        ) as context:
            status: list[Any] = []
            body = api.http.application(context.request.environ, lambda *given: status.extend(given))
        self.code, self.headers = int(status[0].split()[0]), dict(status[1])
        self._body = body
        self._parts = iter(body)

    def part(self) -> str:
        """The next part of the body; "" at its end."""
        return next(self._parts, b"").decode()

    def event(self) -> tuple[str, dict[str, Any], str]:
        """The next event: what it is, its data and its id."""
        fields = dict(line.split(": ", 1) for line in self.part().strip().splitlines())
        return fields["event"], json.loads(fields["data"]), fields["id"]

    def close(self) -> None:
        self._body.close()


def test_a_get_that_waits_answers_when_the_job_ends(api: Api, service: Service, threads: Any) -> None:
    api.post("inputs", json=[{"data": [1, 2, 3]}] * 5)
    job, answers = submit(api), []
    threads(lambda: answers.append(other(api).get(f"jobs/{job}", headers=LONG)))
    until(lambda: service.watching.inside() == 1)
    assert not answers
    Worker(service.db, service.registry, threading.Event()).run_pending()
    until(lambda: answers, 5, "it is answered")
    (answer,) = answers
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, "wait=60")
    assert answer.json["status"] == "succeeded"
    assert answer.json == api.get(f"jobs/{job}").json
    assert service.watching.inside() == service.admission.inside() == 0


@pytest.mark.parametrize("end", ["succeeded", "failed", "canceled"])
def test_every_end_is_one(api: Api, service: Service, threads: Any, end: str) -> None:
    job, answers = submit(api), []
    threads(lambda: answers.append(other(api).get(f"jobs/{job}", headers=LONG).json["status"]))
    until(lambda: service.watching.inside() == 1)
    if end == "canceled":
        cancel(api, job)
    else:
        claimed = states.claim(service.db["jobs"], "w")
        assert claimed is not None
        assert not answers
        states.fail(service.db["jobs"], claimed, "no") if end == "failed" else states.succeed(
            service.db["jobs"], claimed, {}
        )
    until(lambda: answers == [end], 5)


def test_after_its_time_it_answers_with_the_present_state(api: Api, service: Service) -> None:
    job = submit(api)
    began = time.monotonic()
    answer = api.get(f"jobs/{job}", headers={"Prefer": "wait=1"})
    assert 0.9 < time.monotonic() - began < 3
    assert (answer.status_code, answer.json["status"]) == (200, "queued")
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert answer.json == api.get(f"jobs/{job}").json


def test_what_has_ended_is_answered_at_once_and_takes_no_place(
    api: Api, service: Service, streams: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(api)
    cancel(api, job)
    answer = api.get(f"jobs/{job}", headers={"Prefer": "wait=1000"})
    assert (answer.json["status"], answer.headers["Preference-Applied"]) == ("canceled", "wait=60")
    assert not streams


@pytest.mark.parametrize("header", ["wait", "wait=x", "wait=-1", "wait=1.5", "respond-async", "", ";;,=", 'wait="'])
def test_a_preference_that_is_none_is_ignored(api: Api, header: str) -> None:
    job = submit(api)
    answer = api.get(f"jobs/{job}", headers={"Prefer": header})
    assert answer.status_code == 200
    assert "Preference-Applied" not in answer.headers


def test_anothers_job_is_not_there_at_once(api: Api, service: Service) -> None:
    job = submit(api)
    bob = api.as_caller("user:bob")
    for path in (job, str(ObjectId())):
        answer = bob.get(f"jobs/{path}", headers=LONG)
        assert answer.status_code == 404
        assert bob.get(f"jobs/{path}/events").status_code == 404
    assert api.get(f"jobs/{job}?where=1", headers=LONG).status_code == 400
    assert api.get(f"jobs/{job}/events?x=1").json["_issues"] == {"x": "events take no parameters"}
    assert api.post(f"jobs/{job}/events").status_code == 405


def test_one_change_stream_wakes_all_and_is_there_only_while_somebody_waits(
    api: Api, service: Service, streams: list[Any], threads: Any
) -> None:
    jobs = [submit(api) for _ in range(4)]
    answers: list[str] = []
    for _ in range(3):
        for job in jobs:
            threads(lambda job=job: answers.append(other(api).get(f"jobs/{job}", headers=LONG).json["_id"]))
    until(lambda: service.watching.inside() == 12)
    until(lambda: streams)
    cancel(api, jobs[0])
    until(lambda: answers == jobs[:1] * 3, 5, "those of the first alone")
    for job in jobs[1:]:
        cancel(api, job)
    until(lambda: sorted(answers) == sorted(jobs * 3), 5)
    assert len(streams) == 1
    until(lambda: not streams[0].alive, 5, "nobody waits: it is closed")
    later = submit(api)
    threads(lambda: other(api).get(f"jobs/{later}", headers=LONG))
    until(lambda: len(streams) == 2, 5, "another is opened")
    cancel(api, later)


def test_without_a_change_stream_it_ends_as_well(
    api: Api, service: Service, threads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OperationFailure("the $changeStream stage is only supported on replica sets", 40573)

    monkeypatch.setattr(Database, "watch", refuse)
    monkeypatch.setattr(following, "POLL_SECONDS", 0.05)
    job, answers = submit(api), []
    threads(lambda: answers.append(other(api).get(f"jobs/{job}", headers=LONG).json["status"]))
    until(lambda: service.watching.inside() == 1)
    cancel(api, job)
    until(lambda: answers == ["canceled"], 5)


def test_an_end_between_the_first_look_and_the_watch_is_not_missed(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(api)
    real = routes._visible

    def end_after(job_id: ObjectId) -> Any:
        found = real(job_id)
        cancel(other(api), job)
        return found

    monkeypatch.setattr(routes, "_visible", end_after)
    monkeypatch.setattr(following.Follower, "start", lambda self: None)
    assert api.get(f"jobs/{job}", headers=LONG).json["status"] == "canceled"


def test_there_are_only_so_many_waits_and_the_next_is_told_so_at_once(
    client: Client, make_api: Callable[..., Api], threads: Any
) -> None:
    api = make_api(client, threads=16)
    service: Service = api.http.application.extensions["service"]
    job = submit(api)
    held = [Stream(api, job) for _ in range(2)]
    for _ in range(2):
        threads(lambda: other(api).get(f"jobs/{job}", headers=LONG))
    until(lambda: service.watching.inside() == 4)
    for answer in (api.get(f"jobs/{job}", headers=LONG), api.get(f"jobs/{job}/events")):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json["_error"]["message"] == "4 waits are under way already"
    assert api.get(f"jobs/{job}").status_code == 200
    assert api.get("/health/live").status_code == 200
    assert api.post("models/sums/predict", json={"instances": [[1, 2, 3]]}).status_code == 200
    assert (service.admission.inside(), service.busy()) == (4, 0)
    held[0].close()
    assert service.watching.inside() == 3
    cancel(api, job)
    held[1].close()
    until(lambda: service.watching.inside() == service.admission.inside() == 0)


def test_events_are_the_states_of_a_job_to_its_end(api: Api, service: Service) -> None:
    ids = [item["_id"] for item in api.post("inputs", json=[{"data": [1, 2, 3]}] * 3).json["_items"]]
    job = submit(api, inputs=ids)
    stream = Stream(api, job)
    assert stream.code == 200
    assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["Cache-Control"] == "no-store"
    assert stream.headers["X-Accel-Buffering"] == "no"
    assert stream.part() == "retry: 2000\n\n"
    kind, data, _ = stream.event()
    whole = api.get(f"jobs/{job}").json
    assert (kind, data) == ("progress", {name: value for name, value in whole.items() if name != "inputs"})
    claimed = states.claim(service.db["jobs"], "w")
    assert claimed is not None
    assert stream.event()[1]["status"] == "running"
    states.advance(service.db["jobs"], claimed, {}, {"done": 2, "total": 3})
    kind, data, _ = stream.event()
    assert (kind, data["progress"]["done"]) == ("progress", 2)
    states.succeed(service.db["jobs"], claimed, {"done": 3})
    kind, data, _ = stream.event()
    assert (kind, data["status"], data["progress"]["done"]) == ("ended", "succeeded", 3)
    assert stream.part() == ""
    assert service.watching.inside() == 0


def test_a_reconnect_begins_with_the_present_state_and_ends_where_all_was_seen(api: Api, service: Service) -> None:
    job = submit(api)
    first = Stream(api, job)
    first.part()
    id_ = first.event()[2]
    first.close()
    again = Stream(api, job, **{"Last-Event-ID": id_})
    again.part()
    assert again.event()[2] == id_
    cancel(api, job)
    kind, data, end = again.event()
    assert (kind, data["status"]) == ("ended", "canceled")
    assert again.part() == ""
    late = Stream(api, job, **{"Last-Event-ID": id_})
    late.part()
    assert late.event() == (kind, data, end)
    assert late.part() == ""
    assert api.get(f"jobs/{job}/events", headers={"Last-Event-ID": end}).status_code == 204
    assert api.get(f"jobs/{job}/events").text.count("event: ended") == 1
    assert api.head(f"jobs/{job}/events").headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert service.watching.inside() == 0


def test_events_come_at_most_so_often_and_the_newest_state_comes(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.01)
    job = submit(api)
    claimed = states.claim(service.db["jobs"], "w")
    assert claimed is not None
    stream = Stream(api, job)
    stream.part()
    done = threading.Event()

    def hurry() -> None:
        for count in range(1, 201):
            states.advance(service.db["jobs"], claimed, {}, {"done": count})
        done.set()

    writer = threading.Thread(target=hurry)
    writer.start()
    began, events = time.monotonic(), 0
    while stream.event()[1]["progress"]["done"] < 200:
        events += 1
    writer.join()
    assert events <= (time.monotonic() - began) / routes.BETWEEN_EVENTS + 1
    stream.close()


def test_a_silent_stream_says_that_it_is_alive(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "KEEP_ALIVE", 0.05)
    stream = Stream(api, submit(api))
    stream.part()
    stream.event()
    assert [stream.part(), stream.part()] == [": keep-alive\n\n"] * 2
    stream.close()


def test_a_job_that_is_deleted_ends_its_streams_and_waits(api: Api, service: Service, threads: Any) -> None:
    job, answers = submit(api), []
    stream = Stream(api, job)
    stream.part()
    stream.event()
    threads(lambda: answers.append(other(api).get(f"jobs/{job}", headers=LONG).status_code))
    until(lambda: service.watching.inside() == 2)
    service.db["jobs"].delete_one({"_id": ObjectId(job)})
    assert stream.part() == ""
    until(lambda: answers == [404], 5)


def test_a_stop_ends_all_waits_and_no_later_one_lasts(api: Api, service: Service, threads: Any) -> None:
    job, answers = submit(api), []
    stream = Stream(api, job)
    stream.part()
    stream.event()
    threads(lambda: answers.append(other(api).get(f"jobs/{job}", headers=LONG).json["status"]))
    until(lambda: service.watching.inside() == 2)
    service.watching.stop()
    assert stream.part() == ""
    until(lambda: answers == ["queued"], 5)
    assert api.get(f"jobs/{job}", headers=LONG).json["status"] == "queued"
    late = Stream(api, job)
    late.part()
    assert late.event()[0] == "progress"
    assert late.part() == ""


def test_a_database_in_memory_is_polled(
    mock_client: Any, make_api: Callable[..., Api], stub: Any, threads: Any
) -> None:
    stub(mock_client)
    api = make_api(mock_client)
    job, answers = submit(api), []
    threads(lambda: answers.append(other(api).get(f"jobs/{job}", headers=LONG).json["status"]))
    service: Service = api.http.application.extensions["service"]
    until(lambda: service.watching.inside() == 1)
    database_of(mock_client)["jobs"].update_one({"_id": ObjectId(job)}, {"$set": {"status": "canceled"}})
    until(lambda: answers == ["canceled"], 5)
