"""Forms: what is typed becomes the request of a program, and is checked, refused and done as that would be."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bson import ObjectId

from ml.admission import Admission
from ml.database.client import database_of
from ml.database.documents import stamp_new
from tests.conftest import ADMIN_KEY, Api
from tests.integration.console.browser import HtmlForm, Page, Visitor
from tests.integration.identity.people import PASSWORD
from tests.integration.rest import ROW, Client, image, stored


def result_of(client: Client, **fields: Any) -> str:
    document = stamp_new({"_id": ObjectId(), "model": "m", "version": 1, "status": "succeeded", **fields}, "alice")
    return str(database_of(client)["results"].insert_one(document).inserted_id)


def job_of(client: Client, status: str, **fields: Any) -> str:
    progress = {"total": 1, "done": 0, "failed": 0}
    job = {"_id": ObjectId(), "model": "sums", "version": 1, "status": status, "where": {}, "progress": progress}
    document = stamp_new({**job, "fence": 0, "priority": 5, **fields}, "alice")
    return str(database_of(client)["jobs"].insert_one(document).inserted_id)


def test_a_form_stores_what_was_typed_in_the_types_of_the_schema(
    person: Callable[..., Visitor], client: Client
) -> None:
    alice = person()
    form = alice.page("/api/v1/inputs").form("post-fields")
    typed = {"f.data": "[1, 2.5]", "f.model": "sums", "f.tags": "one\r\ntwo words\r\n", "f.meta": '{"bed": 3}'}
    answer = alice.send(form, typed, follow=False)
    (document,) = stored(client, "inputs")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/api/v1/inputs/{document['_id']}")
    shown = {name: document[name] for name in ("data", "model", "tags", "meta", "owner", "source")}
    assert shown == {
        "data": [1.0, 2.5], "model": "sums", "tags": ["one", "two words"], "meta": {"bed": 3}, "owner": "alice",
        "source": "rest",
    }  # fmt: skip
    page = alice.page(answer.headers["Location"])
    assert f"Done: input {document['_id']}" in page.text
    assert "Done:" not in alice.page(answer.headers["Location"]).text


def test_what_is_wrong_stands_at_its_field_and_what_was_typed_stays(visitor: Visitor, client: Client) -> None:
    form = visitor.page("/api/v1/jobs").form("post-fields")
    typed = {
        "f.model": "no model!", "f.priority": "eleven", "f.where": "{broken", "f.follow": "true",
        "f.webhook.url": "ftp://x", "f.webhook.events": ["failed", "canceled"],
    }  # fmt: skip
    page = visitor.sent(form, typed)
    assert page.status == 422
    # What is no JSON cannot be sent at all; the rest is told by the API.
    assert page.source.count('aria-invalid="true"') == 1
    again = page.form("post-fields")
    for name, value in typed.items():
        assert [text for key, text in again.fields if key == name] == (value if isinstance(value, list) else [value])
    page = visitor.sent(again, {"f.where": '{"nope": 1}'})
    assert page.status == 422
    for name in ("model", "priority", "where", "webhook-url"):
        assert f'id="post-fields-{name}-error"' in page.source
        assert f'href="#post-fields-{name}"' in page.source
    assert "expected a whole number, got the string" in page.text
    assert 'role="alert"' in page.source
    assert not page.source.count("post-fields-follow-error")
    assert stored(client, "jobs") == []


def test_a_change_has_only_what_was_changed(person: Callable[..., Visitor], client: Client, admin: Api) -> None:
    alice = person()
    id_ = result_of(client, truth="3", note="a\nb", label="3")
    path = f"/api/v1/results/{id_}"
    form = alice.page(path).form("patch-fields")
    assert (form.get("f.truth"), form.get("as.truth"), form.get("f.note")) == ("3", "text", "a\r\nb")
    assert alice.send(form, follow=False).status_code == 303  # nothing was
    assert stored(client, "results")[0]["note"] == "a\nb"
    for typed, meant, kept in (
        ("7", "text", "7"),
        ("7", "json", 7),
        ("[1, 2]", "json", [1, 2]),
        ("true", "json", True),
        ("", "text", None),
    ):
        form = alice.page(path).form("patch-fields")
        page = alice.sent(form, {"f.truth": typed, "as.truth": meant})
        assert "Saved." in page.text
        (document,) = stored(client, "results")
        assert (document["truth"], document["note"]) == (kept, "a\nb")
    # The same text in another kind is a change, too.
    form = alice.page(path).form("patch-fields")
    alice.send(form, {"f.truth": "1"})
    form = alice.page(path).form("patch-fields")
    alice.send(form, {"as.truth": "json"})
    assert stored(client, "results")[0]["truth"] == 1


def test_two_who_change_the_same_are_told(person: Callable[..., Visitor], client: Client) -> None:
    id_ = result_of(client, note="before")
    path = f"/api/v1/results/{id_}"
    first, second = person(), person()
    late = second.page(path).form("patch-fields")
    first.send(first.page(path).form("patch-fields"), {"f.note": "first"})
    page = second.sent(late, {"f.note": "second", "f.truth": "x"})
    assert page.status == 412
    assert "By now it is: first" in page.text
    assert "Somebody changed it" in page.text
    assert '"first"' in page.text
    assert stored(client, "results")[0]["note"] == "first"
    again = page.form("patch-fields")
    assert (again.get("f.note"), again.get("f.truth")) == ("second", "x")
    assert "Saved." in second.sent(again).text
    assert [stored(client, "results")[0][name] for name in ("note", "truth")] == ["second", "x"]


def test_a_document_is_deleted_and_the_list_shown(person: Callable[..., Visitor], client: Client) -> None:
    alice = person()
    id_ = result_of(client)
    page = alice.page(f"/api/v1/results/{id_}")
    gone = alice.sent(page.form("delete-button"))
    assert gone.answer.request.path == "/api/v1/results"
    assert "Done: delete a result" in gone.text
    assert stored(client, "results") == []
    # And once more, from a page that is still open.
    assert alice.sent(page.form("delete-button")).status == 404


def test_json_is_sent_as_it_was_written(visitor: Visitor, client: Client) -> None:
    form = visitor.page("/api/v1/inputs").form("post-json")
    page = visitor.sent(form, {"_body": json.dumps([{"data": ROW}, {"data": ROW, "tags": ["x"]}])})
    assert "Done: 2 stored" in page.text
    assert len(stored(client, "inputs")) == 2
    for body, place in (("{", "body"), ('[{"data": [1]}, {"data": "x", "nope": 1}]', "[1].nope"), ("[]", "body")):
        page = visitor.sent(visitor.page("/api/v1/inputs").form("post-json"), {"_body": body})
        assert page.status == 422
        assert page.form("post-json").get("_body") == body
        assert place in page.text
    assert len(stored(client, "inputs")) == 2


def test_a_form_that_is_sent_twice_is_done_once(visitor: Visitor, client: Client) -> None:
    form = visitor.page("/api/v1/inputs").form("post-fields")
    places = {visitor.send(form, {"f.data": "[1]"}, follow=False).headers["Location"] for _ in range(3)}
    assert len(places) == len(stored(client, "inputs")) == 1
    # A refused one may be put right.
    page = visitor.sent(visitor.page("/api/v1/inputs").form("post-fields"), {"f.data": "[1, [2]]"})
    assert page.status == 422
    assert visitor.sent(page.form("post-fields"), {"f.data": "[1, 2]"}).status == 200
    assert len(stored(client, "inputs")) == 2


def test_files_are_sent_on(visitor: Visitor, client: Client) -> None:
    form = visitor.page("/api/v1/inputs").form("post-files")
    assert form.kind == "multipart/form-data"
    picture = image(np.arange(12, dtype="uint8").reshape(3, 4))
    page = visitor.sent(form, {"f.file": (io.BytesIO(picture), "p.png"), "f.tags": '["photo"]'})
    assert page.status == 200
    (document,) = stored(client, "inputs")
    assert document["tags"] == ["photo"]
    assert np.array(document["data"]).shape == (3, 4)
    page = visitor.sent(page and visitor.page("/api/v1/inputs").form("post-files"), {"f.tags": "photo"})
    assert page.status == 422
    assert "expected one file, got 0" in page.text
    assert page.form("post-files").get("f.tags") == "photo"


def test_a_model_is_uploaded(visitor: Visitor, client: Client) -> None:
    form = visitor.page("/api/v1/models").form("post-files")
    file = (io.BytesIO(b"no model"), "m.keras")
    page = visitor.sent(form, {"f.name": "mine", "f.classes": "a, b", "f.file": file, "f.sample": (io.BytesIO(), "")})
    assert page.answer.request.path.startswith("/api/v1/models/")
    (model,) = stored(client, "models")
    assert (model["name"], model["classes"], model["state"]) == ("mine", ["a", "b"], "loading")
    assert visitor.sent(form, {"f.name": "mine"}).status == 422


def test_predict_in_a_form(visitor: Visitor, serve: Callable[..., Any], client: Client) -> None:
    serve()
    page = visitor.page("/api/v1/models/sums/predict")
    form = page.form("post-fields")
    assert json.loads(form.get("f.instances")) == [[0.0, 0.0, 0.0]]
    answered = visitor.sent(form, {"f.instances": "[[1, 2, 3]]", "f.meta": '[{"a": 1}]'})
    (result,) = stored(client, "results")
    assert answered.status == 200
    assert answered.link(str(result["_id"])) == f"/api/v1/results/{result['_id']}"
    assert '-d \'{"instances":[[1,2,3]]' in answered.text
    # The next is another one, with what was typed to begin with.
    again = answered.form("post-fields")
    assert visitor.sent(form, {"f.instances": "[[9, 9, 9]]"}).status == 200  # who goes back
    assert again.get("f.instances") == "[[1, 2, 3]]"
    assert visitor.sent(again, {"f.instances": "[[4, 5, 6]]"}).status == 200
    assert len(stored(client, "results")) == 3
    page = visitor.sent(again, {"f.instances": "[[1, 2]]"})
    assert page.status == 422
    assert "instances[0]" in page.text


def test_a_key_is_shown_once(visitor: Visitor, admin: Api) -> None:
    form = visitor.page("/api/v1/keys").form("post-fields")
    page = visitor.sent(form, {"f.role": "reader", "f.owner": "scanner", "f.models": "a\r\nb"})
    assert page.status == 201
    assert "This is shown this once" in page.text
    (key,) = admin.get("keys").json["_items"]
    assert key["models"] == ["a", "b"]
    shown = re.findall(r'"(alm_[^"]{43})"', page.text)[0]
    assert admin.as_caller(shown).get("models").status_code == 200
    assert shown not in visitor.page(f"/api/v1/keys/{key['_id']}").source
    rotate = visitor.page(visitor.page(f"/api/v1/keys/{key['_id']}").link("Replace a key")).form("post-fields")
    page = visitor.sent(rotate, {"f.grace_seconds": "0"})
    assert "This is shown this once" in page.text
    assert admin.as_caller(shown).get("models").status_code == 401
    secret = visitor.page("/api/v1/webhooks/secret")
    before = admin.get("webhooks/secret").json["secret"]
    assert before in secret.text
    assert before not in visitor.sent(secret.form("post-button")).text
    assert admin.get("webhooks/secret").json["secret"] != before


def test_a_user_is_made_and_no_password_shown_again(visitor: Visitor, client: Client) -> None:
    form = visitor.page("/api/v1/users").form("post-fields")
    page = visitor.sent(form, {"f.name": "bob", "f.role": "user", "f.password": "bob"})
    assert page.status == 422
    assert 'value="bob"' in page.source
    assert page.form("post-fields").get("f.password") == ""
    page = visitor.sent(page.form("post-fields"), {"f.password": PASSWORD})
    assert page.status == 200
    assert PASSWORD not in page.source
    change = page.form("patch-fields")
    visitor.send(change, {"f.disabled": "true"})
    (user,) = stored(client, "users")
    assert user["disabled"] is True
    assert "password" not in user


@pytest.mark.parametrize(
    ("status", "buttons"),
    [
        ("queued", ["Pause", "Cancel"]),
        ("running", ["Pause", "Cancel"]),
        ("paused", ["Resume", "Cancel"]),
        ("succeeded", ["Run again what is missing or failed"]),
        ("failed", ["Run again what is missing or failed"]),
        ("canceled", ["Run again what is missing or failed"]),
        ("strange", []),
    ],
)
def test_a_job_has_the_buttons_of_its_state(
    person: Callable[..., Visitor], client: Client, status: str, buttons: list[str]
) -> None:
    id_ = job_of(client, status)
    page = person().page(f"/api/v1/jobs/{id_}")
    assert [form.buttons[0] for form in page.forms if form.names()[-1:] == ["_body"] and not form.id] == buttons
    assert page.has_form("delete-button") is (status not in ("queued", "running", "paused"))
    assert not [form for form in person("reader").page(f"/api/v1/jobs/{id_}").forms if "browse" in form.action]


def test_a_button_does_what_it_says_unless_somebody_was_before(person: Callable[..., Visitor], client: Client) -> None:
    alice = person()
    path = f"/api/v1/jobs/{job_of(client, 'queued')}"
    page = alice.page(path)
    paused = alice.sent(page.form("Pause"))
    assert stored(client, "jobs")[0]["status"] == "paused"
    assert paused.has_form("Resume")
    stale = alice.sent(page.form("Pause"))
    assert stale.status == 412
    assert stale.has_form("Resume")
    assert stored(client, "jobs")[0]["status"] == "paused"
    told = database_of(client)["deliveries"]
    document = {"event": "failed", "url": "https://x.example/", "status": "failed", "n": 1, "host": "x.example"}
    id_ = told.insert_one(stamp_new({"job": ObjectId(), "attempt": 12, **document}, "alice")).inserted_id
    assert "Saved." in alice.sent(alice.page(f"/api/v1/deliveries/{id_}").form("Send again")).text
    assert (told.find_one() or {})["status"] == "queued"


def test_a_refusal_of_what_is_not_offered_any_more_is_told(person: Callable[..., Visitor], client: Client) -> None:
    alice = person()
    path = f"/api/v1/jobs/{job_of(client, 'canceled')}"
    form = alice.page(path).form("delete-button")
    database_of(client)["jobs"].update_many({}, {"$set": {"status": "running"}})
    page = alice.sent(form)
    assert page.status == 409
    assert not page.has_form("delete-button")
    assert "the job is running; it can be deleted when it has ended" in page.text.replace("The job", "the job")


def test_a_made_up_form_does_what_the_api_would(person: Callable[..., Visitor], admin: Api, client: Client) -> None:
    made = admin.post("inputs", json={"data": ROW}).json
    reader, alice = person("reader"), person()

    def send(who: Visitor, path: str, **fields: str) -> Page:
        token = who.page("/api/v1/").form("Log out").get("csrf_token")
        return who.sent(HtmlForm(f"/browse/{path}", "post", fields=[("csrf_token", token), *fields.items()]))

    theirs = f"api/v1/inputs/{made['_id']}"
    for who, path, fields, code in (
        (reader, "api/v1/inputs", {"_way": "json", "_body": '{"data": [1]}'}, 403),
        (alice, "api/v1/keys", {"_way": "json", "_body": '{"role": "admin", "owner": "alice"}'}, 403),
        (alice, theirs, {"_method": "DELETE", "_etag": "*"}, 404),
        (alice, theirs, {"_method": "PATCH", "_way": "json", "_body": "{}", "_etag": "*"}, 404),
        (alice, theirs, {"_method": "PUT"}, 405),
        (alice, theirs, {"_method": "GET"}, 405),
        (alice, "api/v1/nothing", {}, 404),
        (alice, "login", {}, 404),
        (alice, "v2/models/sums/infer", {}, 404),
        (alice, "api/v1/../../logout", {}, 404),
        (alice, "api/v1/inputs", {"_way": "nonsense"}, 422),
        (alice, "api/v1/inputs", {"_way": "json", "_body": "{}", "_key": "a\r\nX: y"}, 422),
    ):
        page = send(who, path, **fields)
        assert page.status == code, (path, fields)
        assert page.answer.mimetype == "text/html"
    assert len(stored(client, "inputs")) == 1
    assert stored(client, "keys") == stored(client, "keys")
    # Without an entity tag a change is refused, as a program's.
    own = alice.page("/api/v1/inputs").form("post-fields")
    place = alice.send(own, {"f.data": "[1]"}, follow=False).headers["Location"]
    assert send(alice, place[1:], _method="DELETE").status == 428


def test_a_session_that_ended_meanwhile_leads_to_log_in_and_back(visitor: Visitor, client: Client) -> None:
    form = visitor.page("/api/v1/inputs").form("post-fields")
    database_of(client)["sessions"].delete_many({})
    answer = visitor.send(form, {"f.data": "[1]"}, follow=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login?next=/api/v1/inputs")
    assert stored(client, "inputs") == []


def test_a_form_takes_one_place_counts_once_and_is_logged_as_both(
    replica: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = Visitor(replica(rate_limit="5/minute", rate_limit_storage="memory://").http)
    one.log_in(key=ADMIN_KEY)
    form = one.page("/api/v1/inputs").form("post-fields")
    taken: list[int] = []
    take = Admission.take
    monkeypatch.setattr(Admission, "take", lambda self: (taken.append(1), take(self))[1])
    caplog.set_level(logging.INFO, "almanac.access")
    caplog.clear()
    answer = one.send(form, {"f.data": "[1]"}, follow=False)
    assert answer.status_code == 303
    assert len(taken) == 1
    # The home page, the list and this.
    assert answer.headers.getlist("RateLimit-Remaining") == ["2"]
    lines = [(record.path, record.request) for record in caplog.records if record.name == "almanac.access"]  # type: ignore[attr-defined]
    assert [path for path, _ in lines] == ["/api/v1/inputs", "/browse/api/v1/inputs"]
    assert len({id_ for _, id_ in lines}) == 1


def test_a_form_that_is_too_large_has_its_page(replica: Callable[..., Api], client: Client) -> None:
    one = Visitor(replica(max_body_mb=1).http)
    one.log_in(key=ADMIN_KEY)
    form = one.page("/api/v1/inputs").form("post-fields")
    page = one.sent(form, {"f.data": "[" + "1," * 600_000 + "1]"})
    assert (page.status, page.answer.mimetype) == (413, "text/html")
    assert stored(client, "inputs") == []
