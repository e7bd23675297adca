"""What Replicate's routes understand, whom they answer what, and that a prediction is computed once."""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from api.dialects.replicate import files
from api.errors import ApiError
from ml.identity.keys import create_key
from ml.jobs import states
from ml.jobs.commit import Lost
from ml.jobs.deadlines import end_overdue
from ml.jobs.scorer import Scorer
from ml.service import Service
from ml.webhooks import outbox
from tests.conftest import Api
from tests.integration.apps import replicas
from tests.integration.dialects.replicate import problem
from tests.integration.jobs import claim, expire_lease, work
from tests.integration.rest import ROW, Client, nothing_stored, npy, stored, tensor
from tests.waiting import until

URL = "/v1/predictions"
#: The row, for the model that is served by default.
INPUT = {"input": {"x": ROW}}
ASKED = {"version": "sums", **INPUT}
DIGEST = "ab" * 32

#: What is sent, and what is said of it.
WRONG: list[tuple[Any, str]] = [
    ([], "body: expected an object, got a list of 0"),
    (INPUT, "version: expected a string, got nothing"),
    ({**ASKED, "version": 3}, "version: expected a string, got the number 3"),
    ({**ASKED, "version": "a/b/c"}, "version: expected name, name:number"),
    ({**ASKED, "wait": 1}, "wait: no such field; there are version, input"),
    ({**ASKED, "id": "x"}, "id: no such field"),
    ({**ASKED, "stream": "yes"}, "stream: expected true or false, got the string 'yes'"),
    ({**ASKED, "webhook": 3}, "webhook: expected a URL, got the number 3"),
    ({**ASKED, "webhook": "http://10.0.0.1/x"}, "webhook: 10.0.0.1 is no public address"),
    ({**ASKED, "webhook_completed": "ftp://a.example"}, "webhook_completed: expected an absolute http or https"),
    ({**ASKED, "webhook_events_filter": ["end"]}, "expected a list of some of start, output, logs, completed"),
    ({**ASKED, "webhook_events_filter": "start"}, "webhook_events_filter: expected a list of some of start"),
    ({"version": "sums", "input": [1, 2, 3]}, "input: expected an object with x, got a list of 3"),
    ({"version": "sums", "input": None}, "input: expected an object with x, got null"),
    ({"version": "sums"}, "input.x: expected FP32[3], got nothing"),
    ({"version": "sums", "input": {"x": ROW, "y": 1}}, "input.y: no such input; the model takes x"),
    ({"version": "sums", "input": {"x": {"x": ROW}}}, "input.x: x expected FP32[3]"),
    ({"version": "sums", "input": {"x": [1, 2, "a"]}}, "input.x: x expected FP32[3]: at [2]"),
    ({"version": "sums", "input": {"x": "data:,abc"}}, "input.x: an image cannot be x, which is FP32[3]"),
    ({"version": "sums", "input": {"x": "data:image/png;base64,é"}}, "input.x: expected base64 after the comma"),
    ({"version": "sums", "input": {"x": "data:nothing"}}, "input.x: expected a data URL with a comma"),
    ({"version": "sums", "input": {"x": "https://a.example/1.png"}}, "nothing is fetched from other servers"),
]


@pytest.fixture
def service(api: Api) -> Service:
    made: Service = api.http.application.extensions["service"]
    return made


def test_what_does_not_fit_is_named(api: Api, client: Client, serve: Any) -> None:
    serve()
    for body, reason in WRONG:
        answer = api.post(URL, json=body)
        assert answer.status_code == 422, body
        assert reason in problem(answer), body
    assert nothing_stored(client)
    assert stored(client, "jobs") == []


def test_headers_and_bodies_that_are_not_understood(api: Api, client: Client, serve: Any) -> None:
    serve()
    for wrong in ("", "soon", "0s", "-5s", "5x", "1m1h", "31d", "1.5h", "5 m", "9" * 30):
        answer = api.post(URL, json=ASKED, headers={"Cancel-After": wrong})
        assert answer.status_code == 422, wrong
        assert "Cancel-After: expected a duration such as 30s" in problem(answer)
    assert api.post(URL, data="{}", content_type="text/plain").status_code == 415
    assert api.post(f"{URL}?x=1", json=ASKED).status_code == 400
    for cursor in ("x", "after-", "after-1.zz", "before-one.6b00e4c0d035a01704bf37b4", f"after-{'9' * 22}.x", "-1.x"):
        answer = api.get(URL, query_string={"cursor": cursor})
        assert (answer.status_code, "cursor: expected one that" in problem(answer)) == (400, True)
    assert api.get(URL, query_string={"page": 2}).status_code == 400
    assert api.put(f"{URL}/not%20sane", json=ASKED).status_code == 422
    assert api.put(f"{URL}/{'x' * 101}", json=ASKED).status_code == 422
    assert "expected that of the path" in problem(api.put(f"{URL}/mine", json={**ASKED, "id": "other"}))
    assert stored(client, "jobs") == []


def test_a_version_is_named_in_many_ways(api: Api, client: Client, serve: Any) -> None:
    for number in (1, 2, 3):
        serve(version=number, aliases={"old": 1, "stable": 2})
    client["almanac"]["models"].update_many({"version": {"$in": [1, 3]}}, {"$set": {"digest": DIGEST}})
    for named, number in (
        ("sums", 2), ("eve/sums", 2), ("sums:1", 1), ("admin/sums:3", 3), ("admin/sums:old", 1),
        (DIGEST, 3), (f"any/sums:{DIGEST}", 3),
    ):  # fmt: skip
        answer = api.post(URL, json={**ASKED, "version": named})
        assert answer.status_code == 201, answer.text
        assert stored(client, "jobs")[-1]["version"] == number, named
    client["almanac"]["models"].update_one({"version": 3}, {"$set": {"state": "retired"}})
    assert api.post(URL, json={**ASKED, "version": DIGEST}).status_code == 201
    assert stored(client, "jobs")[-1]["version"] == 1
    for unknown in ("cd" * 32, f"other:{DIGEST}"):
        answer = api.post(URL, json={**ASKED, "version": unknown})
        assert (answer.status_code, "there is no version with the digest" in problem(answer)) == (404, True)
    assert api.post(URL, json={**ASKED, "version": "sums:new"}).status_code == 404
    serve(name="copy")
    client["almanac"]["models"].update_one({"name": "copy"}, {"$set": {"digest": DIGEST}})
    api.http.application.extensions["service"].registry.refresh()
    answer = api.post(URL, json={**ASKED, "version": DIGEST})
    assert (answer.status_code, "expected one model's digest, got that of copy, sums" in problem(answer)) == (422, True)
    assert api.post(URL, json={**ASKED, "version": f"copy:{DIGEST}"}).status_code == 201


def test_urls_are_of_the_scheme_that_a_proxy_was_asked_by(api: Api, client: Client, serve: Any) -> None:
    serve()
    for said, scheme in (({}, "http"), ({"X-Forwarded-Proto": "https"}, "https"), ({"X-Forwarded-Proto": "x"}, "http")):
        urls = api.post(URL, json=ASKED, headers=said).json["urls"]
        assert {url.partition("://")[0] for url in urls.values()} == {scheme}


def test_a_put_is_done_once(api: Api, client: Client, serve: Any, service: Service, make_api: Any) -> None:
    serve()
    eve, url = api.as_caller("user:eve"), f"{URL}/order-17"
    first = eve.put(url, json={**ASKED, "id": "order-17"})
    assert (first.status_code, first.json["id"], first.json["status"]) == (201, "order-17", "starting")
    assert first.json["urls"]["get"].endswith("/v1/predictions/order-17")
    again = eve.put(url, json=dict(reversed(ASKED.items())))
    assert (again.status_code, again.json) == (200, first.json)
    work(service)
    done = eve.put(url, json=ASKED)
    assert (done.status_code, done.json["status"], done.json["output"]) == (200, "succeeded", [6, 7])
    other = eve.put(url, json={**ASKED, "input": {"x": [9, 9, 9]}})
    assert (other.status_code, "another body" in problem(other)) == (409, True)
    # Of another owner it is another prediction; and so is one that is asked for after a restart, or without the model.
    restarted = make_api(client).as_caller("user:eve")
    client["almanac"]["models"].update_many({}, {"$set": {"state": "retired"}})
    assert restarted.put(url, json=ASKED).json == done.json == eve.get(url).json
    assert eve.get(f"{URL}/{stored(client, 'jobs')[0]['_id']}").json == done.json
    assert api.as_caller("user:adam").get(url).status_code == 404
    client["almanac"]["models"].update_many({}, {"$set": {"state": "available"}})
    assert api.as_caller("user:adam").put(url, json=ASKED).status_code == 201
    assert len(stored(client, "results")) == 1
    assert len(stored(client, "jobs")) == len(stored(client, "inputs")) == 2
    # An administrator sees both, by the ids of their jobs.
    seen = [prediction["id"] for prediction in api.get(URL).json["results"]]
    assert sorted(seen) == sorted(str(job["_id"]) for job in stored(client, "jobs"))
    assert api.get(f"{URL}/{seen[1]}").json["id"] == seen[1]


def test_a_put_to_two_replicas_at_once(client: Client, serve: Any, tmp_path: Path) -> None:
    serve()
    key = create_key(client["almanac"], "user", "eve")[1]
    with replicas(client, tmp_path) as make:
        askers = [make().as_caller(key) for _ in range(2)]
        answers: list[Any] = []
        barrier = threading.Barrier(8)

        def ask(asker: Api, number: int) -> None:
            barrier.wait()
            answers.append(asker.put(f"{URL}/once", json={**ASKED, "input": {"x": [1, 2, 4 if number == 7 else 3]}}))

        threads = [threading.Thread(target=ask, args=(askers[number % 2], number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        (job,) = stored(client, "jobs")
        (row,) = stored(client, "inputs")
        assert job["inputs"] == [row["_id"]]
        codes = sorted(answer.status_code for answer in answers)
        # Whose body came first is the prediction's.
        assert codes.count(409) == (7 if row["data"][2] == 4 else 1), codes
        assert set(codes) <= {200, 201, 409}
        work(askers[0].http.application.extensions["service"])
        assert len(stored(client, "results")) == 1


def test_a_deadline_before_the_start_and_after_it(api: Api, client: Client, serve: Any, service: Service) -> None:
    serve()
    jobs = client["almanac"]["jobs"]
    answer = api.post(URL, json=ASKED, headers={"Cancel-After": "1h30m"})
    job = stored(client, "jobs")[0]
    assert 5390 < (job["cancel_at"] - job["_created"]).total_seconds() < 5410
    assert api.get(f"jobs/{job['_id']}").json["cancel_at"]
    assert end_overdue(client["almanac"]) == 0
    # As if that time had passed while nothing ran here.
    jobs.update_one({"_id": job["_id"]}, {"$set": {"cancel_at": job["_created"]}})
    assert states.claim(jobs, "w") is None
    assert end_overdue(client["almanac"]) == 1
    aborted = api.get(f"{URL}/{answer.json['id']}").json
    assert (aborted["status"], aborted["started_at"], aborted["output"]) == ("aborted", None, None)
    assert aborted["completed_at"]
    assert "deadline" in aborted["error"]
    assert api.get(f"jobs/{job['_id']}").json["overdue"] is True
    # Run again natively, it has no deadline any more.
    api.patch(f"jobs/{job['_id']}", json={"status": "queued"}, headers={"If-Match": "*"})
    assert end_overdue(client["almanac"]) == 0
    work(service)
    assert api.get(f"{URL}/{answer.json['id']}").json["status"] == "succeeded"
    assert "cancel_at" not in stored(client, "jobs")[0]

    second = api.post(URL, json=ASKED, headers={"Cancel-After": "1d"}).json["id"]
    held = claim(service)
    assert api.get(f"{URL}/{second}").json["status"] == "processing"
    jobs.update_one({"_id": held["_id"]}, {"$set": {"cancel_at": job["_created"]}})
    assert end_overdue(client["almanac"]) == 1
    assert api.get(f"{URL}/{second}").json["status"] == "canceled"
    with pytest.raises(Lost):
        Scorer(service.db, service.registry, held, threading.Event()).run()
    assert len(stored(client, "results")) == 1
    # One that ends in time is none of those that are looked through any more.
    api.post(URL, json=ASKED, headers={"Cancel-After": "1d"})
    work(service)
    assert [job["status"] for job in stored(client, "jobs")] == ["succeeded", "canceled", "succeeded"]
    assert not any("cancel_at" in job for job in stored(client, "jobs"))


def test_a_deadline_that_a_dead_workers_commit_holds_up(api: Api, client: Client, serve: Any, service: Service) -> None:
    serve()
    id_ = api.post(URL, json=ASKED, headers={"Cancel-After": "1d"}).json["id"]
    jobs = client["almanac"]["jobs"]
    with client.start_session() as session:
        held = states.claim(jobs, "w", sessions=[session.session_id]) or {}
        jobs.update_one({"_id": held["_id"]}, {"$set": {"cancel_at": held["_created"]}})
        session.start_transaction()
        assert states.advance(jobs, held, {}, {"done": 1}, session) is not None
        assert end_overdue(client["almanac"]) == 0
        assert end_overdue(client["almanac"]) == 1
    assert api.get(f"{URL}/{id_}").json["status"] == "canceled"


def test_a_worker_that_dies_is_taken_over(api: Api, client: Client, serve: Any, service: Service) -> None:
    serve()
    id_ = api.post(URL, json=ASKED).json["id"]
    expire_lease(service, claim(service))
    work(service)
    assert api.get(f"{URL}/{id_}").json["status"] == "succeeded"
    assert len(stored(client, "results")) == 1


def test_who_may_see_and_cancel(api: Api, client: Client, serve: Any) -> None:
    serve()
    eve, adam = api.as_caller("user:eve"), api.as_caller("user:adam")
    id_ = eve.post(URL, json=ASKED).json["id"]
    for ask in (adam.get, api.as_caller("reader:adam").get):
        for path in (f"{URL}/{id_}", f"{URL}/{id_}/stream"):
            answer = ask(path)
            assert (answer.status_code, f"there is no prediction '{id_}'" in problem(answer)) == (404, True)
    assert adam.post(f"{URL}/{id_}/cancel").status_code == 404
    assert api.as_caller("reader:eve").post(f"{URL}/{id_}/cancel").status_code == 403
    assert adam.get(URL).json == {"previous": None, "next": None, "results": []}
    assert [prediction["id"] for prediction in api.as_caller("reader:eve").get(URL).json["results"]] == [id_]
    native = eve.post("jobs", json={"model": "sums"}).json["_id"]
    assert eve.get(f"{URL}/{native}").status_code == 404
    assert api.post(f"{URL}/{id_}/cancel").json["status"] == "canceled"


def test_waiting_is_no_condition(api: Api, client: Client, serve: Any, service: Service) -> None:
    """What was stored has an id that is to be known, though nobody can wait, or nothing comes of it in that time."""
    serve()
    taken = 0
    while service.watching._places.refusal() is None:
        service.watching._places.take()
        taken += 1
    answer = api.post(URL, json=ASKED, headers={"Prefer": "wait=60"})
    assert (answer.status_code, answer.json["status"]) == (201, "starting")
    for _ in range(taken):
        service.watching._places.give()
    claim(service)
    taking = threading.Thread(target=lambda: until(lambda: states.claim(service.db["jobs"], "w")))
    taking.start()
    answer = api.post(URL, json=ASKED, headers={"Prefer": "wait=1"})
    taking.join()
    assert api.get(f"{URL}/{answer.json['id']}").json["status"] == "processing"
    # Its clients look on for as long as it is starting alone, whatever it is by then.
    assert (answer.status_code, answer.json["status"], answer.json["started_at"]) == (201, "starting", None)
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert answer.headers["Location"].endswith(f"/v1/predictions/{answer.json['id']}")


def test_what_is_deleted_is_not_shown(api: Api, client: Client, serve: Any, service: Service) -> None:
    serve()
    id_ = api.post(URL, json=ASKED).json["id"]
    work(service)
    before = api.get(f"{URL}/{id_}").json
    assert (before["data_removed"], before["output"]) == (False, [6, 7])
    api.delete(f"inputs/{stored(client, 'inputs')[0]['_id']}", headers={"If-Match": "*"})
    after = api.get(f"{URL}/{id_}").json
    assert (after["status"], after["data_removed"], after["input"], after["output"]) == ("succeeded", True, {}, None)
    early = api.post(URL, json=ASKED).json["id"]
    api.delete(f"inputs/{stored(client, 'inputs')[0]['_id']}", headers={"If-Match": "*"})
    work(service)
    gone = api.get(f"{URL}/{early}").json
    assert (gone["status"], "its input was deleted" in gone["error"]) == ("failed", True)


def test_long_tensors_in_lists_and_webhooks(api: Api, client: Client, serve: Any, service: Service) -> None:
    serve(inputs=[tensor("x", "FP32", 70_000)], outputs=[tensor("y", "FP32", 2000), tensor("z", "BYTES")])
    row = "data:;base64," + base64.b64encode(npy([1.0] * 70_000)).decode()
    asked = {"version": "sums", "input": {"x": row}, "webhook": "https://a.example/x"}
    id_ = api.post(URL, json=asked).json["id"]
    work(service)
    whole = api.get(f"{URL}/{id_}").json
    assert (len(whole["input"]["x"]), whole["output"]["y"][:2], whole["output"]["z"]) == (
        70_000,
        [7e4, 70_001],
        "70000",
    )
    (listed,) = api.get(URL).json["results"]
    assert listed["input"] == {"x": {"dtype": "FP32", "shape": [70_000]}}
    assert listed["output"] == {"y": {"dtype": "FP32", "shape": [2000]}, "z": "70000"}
    outbox.move_all(client["almanac"])
    messages = {item["event"]: item for item in api.get("deliveries").json["_items"]}
    assert set(messages) == {"started", "succeeded"}
    payloads = [document["payload"] for document in stored(client, "deliveries")]
    assert all('"x":{"dtype":"FP32","shape":[70000]}' in payload for payload in payloads)
    assert sum('"y":[70000.0,70001.0' in payload for payload in payloads) == 1


@pytest.mark.shown_as_stored
def test_a_job_that_says_it_is_a_prediction_and_is_none(api: Api, client: Client, serve: Any) -> None:
    """Another program may write what it likes: it must not keep the webhooks of others, nor a list, from coming."""
    serve()
    api.post(URL, json={**ASKED, "webhook": "https://a.example/x"})
    api.post(f"{URL}/{stored(client, 'jobs')[0]['_id']}/cancel")
    odd = {"protocol": "replicate", "prediction": "odd", "webhook": {"url": "https://a.example/odd"}, "inputs": 3}
    note = {"n": 1, "event": "started", "at": stored(client, "jobs")[0]["_created"]}
    id_ = ObjectId()
    client["almanac"]["jobs"].insert_one({"_id": id_, "owner": "odd", "outbox": [note], **odd})
    outbox.move_all(client["almanac"])
    assert str(id_) in [prediction["id"] for prediction in api.get(URL).json["results"]]
    assert api.get(f"{URL}/{id_}").json["status"] == "starting"
    assert api.post(f"{URL}/{id_}/cancel").status_code == 409
    assert {document["url"] for document in stored(client, "deliveries")} == {
        "https://a.example/x",
        odd["webhook"]["url"],
    }


def test_the_list_is_read_from_an_index(api: Api, client: Client, serve: Any, service: Service) -> None:
    serve()
    eve = api.as_caller("user:eve")
    for _ in range(3):
        eve.post(URL, json=ASKED)
        eve.post("jobs", json={"model": "sums"})
    jobs = client["almanac"]["jobs"]
    real = type(jobs).find
    plans: list[Any] = []

    def explained(collection: Any, *args: Any, **kwargs: Any) -> Any:
        cursor = real(collection, *args, **kwargs)
        plans.append(cursor)
        return cursor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(jobs), "find", explained)
        job = service.predictions.beyond({"owner": "eve"}, None, 101)[1]
        place = job["_created"], job["_id"]
        assert len(service.predictions.beyond({"owner": "eve"}, place, 101)) == 1
        assert len(service.predictions.beyond({}, place, 101, back=True)) == 1
    for cursor in plans:
        explanation = cursor.clone().explain()
        assert "SORT" not in str(explanation["queryPlanner"]["winningPlan"]).replace("SORT_", "")
        assert explanation["executionStats"]["totalDocsExamined"] <= 3


def test_which_events_a_webhook_hears_of(api: Api, client: Client, serve: Any) -> None:
    serve()
    hook = "https://a.example/x"
    for sent, events in (
        ({"webhook": hook}, ["started", "succeeded", "failed", "canceled"]),
        ({"webhook": hook, "webhook_events_filter": ["completed"]}, ["succeeded", "failed", "canceled"]),
        ({"webhook": hook, "webhook_events_filter": ["output", "start"]}, ["succeeded", "started"]),
        ({"webhook_completed": hook}, ["succeeded", "failed", "canceled"]),
        ({"webhook": hook, "webhook_events_filter": ["logs"]}, None),
        ({"webhook": None, "webhook_events_filter": None}, None),
        ({"webhook_events_filter": ["completed"]}, None),
    ):
        assert api.post(URL, json={**ASKED, **sent}).status_code == 201, sent
        job = stored(client, "jobs")[-1]
        assert job.get("webhook") == (events and {"url": hook, "events": events}), sent


def test_a_stream_that_was_seen_to_its_end(api: Api, client: Client, serve: Any, service: Service) -> None:
    serve(outputs=[tensor("y", "BYTES")])
    id_ = api.post(URL, json=ASKED).json["id"]
    work(service)
    path = f"{URL}/{id_}/stream"
    assert (api.head(path).status_code, api.head(path).mimetype) == (200, "text/event-stream")
    blocks = api.get(path).text.strip().split("\n\n")
    assert blocks[0] == "retry: 2000"
    events = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks[1:]]
    assert [(event["event"], event["data"]) for event in events] == [("output", "6"), ("done", "{}")]
    assert api.get(path, headers={"Last-Event-ID": events[0]["id"]}).text.count("event:") == 2
    assert api.get(path, headers={"Last-Event-ID": events[1]["id"]}).status_code == 204


def test_a_file_that_was_uploaded(
    api: Api, client: Client, serve: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(inputs=[tensor("x", "FP32", 3), tensor("text", "BYTES")])
    url = "http://localhost/v1/files/6b00e4c0d035a01704bf37b4"
    content = npy([1.0, 2.0, 3.0]), "application/octet-stream"
    monkeypatch.setattr(files, "read", lambda asked: content if asked == url else None)
    # What an input of text takes is text, also where it looks like a file.
    given = {"x": url, "text": "data:,abc"}
    id_ = api.post(URL, json={"version": "sums", "input": given}).json["id"]
    work(service)
    assert api.get(f"{URL}/{id_}").json["input"] == given
    assert api.get(f"{URL}/{id_}").json["output"] == [15, 16]
    assert stored(client, "inputs")[0]["data"] == {"x": [1, 2, 3], "text": "data:,abc"}
    content = npy([1.0, 2.0]), ""
    wrong = api.post(URL, json={"version": "sums", "input": given})
    assert (wrong.status_code, "input.x: x expected FP32[3], got shape [2]" in problem(wrong)) == (422, True)

    def gone(_: str) -> Any:
        raise ApiError(404, "it is gone")

    monkeypatch.setattr(files, "read", gone)
    wrong = api.post(URL, json={"version": "sums", "input": given})
    assert (wrong.status_code, "input.x: it is gone" in problem(wrong)) == (422, True)
