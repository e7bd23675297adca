"""Every URL of the API as a page: linked, safe, complete; and no more on it than its reader may see and do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from bson import ObjectId
from pymongo import MongoClient, monitoring

from api.data import SharedMongo
from api.resources import RESOURCES
from api.resources.base import Resource, described
from ml.database.client import database_of
from ml.database.documents import stamp_new
from ml.database.indexes import prepare
from ml.errors import Overloaded, StorageUnavailable
from ml.identity.sessions import Sessions
from tests.conftest import Api
from tests.integration.console.browser import ACCEPT, Page, Visitor
from tests.integration.rest import ROW, Client

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
NASTY = "<script>alert(1)</script>\"'&{{7*7}}"


def predicted(api: Api, serve: Callable[..., Any], rows: int = 1) -> list[dict[str, Any]]:
    """Results of a stub model."""
    serve(classes=["a", "b"])
    answer = api.post("models/sums/predict", json={"instances": [ROW] * rows})
    assert answer.status_code == 200, answer.text
    made: list[dict[str, Any]] = answer.json["predictions"]
    return made


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (ACCEPT, "text/html"),
        ("text/html", "text/html"),
        ("text/html;q=0.9,application/json;q=0.8", "text/html"),
        ("text/html;q=0.8,application/json;q=0.9", "application/json"),
        ("application/json, text/html", "application/json"),
        ("*/*", "application/json"),
        ("text/*", "application/json"),
        (None, "application/json"),
        ("application/x-ndjson", "application/x-ndjson"),
    ],
)
def test_only_who_prefers_html_gets_a_page(admin: Api, accept: str | None, kind: str) -> None:
    for path in ("inputs", "nothing") if kind != "application/x-ndjson" else ("inputs",):
        answer = admin.get(path, headers={"Accept": accept} if accept else {})
        assert answer.mimetype == kind
        assert "Accept" in answer.headers["Vary"].split(", ")
        assert answer.status_code == (200 if path == "inputs" else 404)


def test_every_answer_below_the_api_varies(admin: Api, replica: Callable[..., Api], serve: Callable[..., Any]) -> None:
    predicted(admin, serve)
    made = admin.post("inputs", json={"data": ROW})
    answers = [made, admin.get(f"inputs/{made.json['_id']}"), admin.get(f"inputs/{made.json['_id']}/data")]
    answers += [admin.post("models/sums/predict", json={"instances": [ROW]}), admin.as_caller(None).get("inputs")]
    answers.append(replica(cors_origins="https://a.example").get("inputs", headers={"Origin": "https://a.example"}))
    for answer in answers:
        assert len(answer.headers.getlist("Vary")) == 1
        assert "Accept" in answer.headers["Vary"].split(", ")
    assert "Vary" not in admin.get("/health/live").headers


def pages_of(visitor: Visitor, admin: Api, serve: Callable[..., Any]) -> list[str]:
    """The address of a page of every kind."""
    (one,) = predicted(admin, serve)
    model = admin.get("models").json["_items"][0]
    job = admin.post("jobs", json={"model": "sums", "inputs": [one["input"]]}).json
    key = admin.post("keys", json={"role": "user", "owner": "alice"}).json
    paths = ["/api/v1/", *(f"/api/v1/{name}" for name in RESOURCES), "/api/v1/webhooks/secret"]
    paths += [f"/api/v1/inputs/{one['input']}", f"/api/v1/results/{one['_id']}", f"/api/v1/models/{model['_id']}"]
    paths += [f"/api/v1/jobs/{job['_id']}", f"/api/v1/keys/{key['_id']}", f"/api/v1/jobs/{job['_id']}/events"]
    return [*paths, f"/api/v1/keys/{key['_id']}/rotate", "/api/v1/models/sums/predict", "/login"]


def test_every_page_is_bound_named_and_labelled(visitor: Visitor, admin: Api, serve: Callable[..., Any]) -> None:
    wrong = ["/api/v1/nothing", "/nowhere", "/api/v1/inputs?where={", f"/api/v1/inputs/{ObjectId()}", "/login?token=x"]
    for path in [*pages_of(visitor, admin, serve), *wrong]:
        page = visitor.page(path)
        assert (page.status < 400) is (path not in wrong), (path, page.status)
        policy = dict(part.split(" ", 1) for part in page.answer.headers["Content-Security-Policy"].split("; "))
        assert policy == POLICY
        assert page.answer.headers["Cache-Control"] == "no-store"
        assert "ETag" not in page.answer.headers
        assert "X-Request-ID" in page.answer.headers
        names = [name for name, _ in page.tags]
        assert [names.count(name) for name in ("h1", "main", "title")] == [1, 1, 1]
        labels = {given["for"] for name, given in page.tags if name == "label"}
        for name, given in page.tags:
            assert not [key for key in given if key.startswith("on") or key == "style"], "nothing inline"
            if name == "script":
                assert given["src"].startswith("/static/")
            for key in ("src", "href", "action"):
                assert given.get(key, "/").startswith(("/", "#")), given
                assert not given.get(key, "/").startswith("//")
            if name in ("input", "select", "textarea") and given.get("type") != "hidden":
                assert given.get("id") in labels or given.get("aria-label"), given
            if "aria-describedby" in given:
                assert set(given["aria-describedby"].split()) <= set(page.ids)
        assert "<script>" not in page.source


def test_files_are_kept_for_as_long_as_they_are_the_same(admin: Api) -> None:
    http = admin.http.application.test_client()
    for path in re.findall(r'(?:href|src)="(/static/[^"]+)"', http.get("/login").text):
        answer = http.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert http.get(path[:-1]).headers["Cache-Control"] == "no-cache"
    assert "prefers-color-scheme:dark" in http.get("/static/bootstrap.css").text


def test_what_somebody_wrote_is_never_a_part_of_the_page(visitor: Visitor, admin: Api, client: Client) -> None:
    db = database_of(client)
    document = {"data": [1.0], "tags": [NASTY], "meta": {NASTY: NASTY}, "model": NASTY, NASTY: 1, "owner": NASTY}
    for name in ("inputs", "results", "jobs", "deliveries"):
        more = {"status": NASTY, "label": NASTY, "url": "javascript:alert(1)", "input": NASTY, "job": ObjectId()}
        db[name].insert_one(stamp_new({"_id": ObjectId("0" * 24), **document, **more}, NASTY))
        for path in (f"/api/v1/{name}", f"/api/v1/{name}/{'0' * 24}"):
            page = visitor.page(path)
            assert page.status == 200
            assert NASTY[:15] not in page.source
            assert not [href for _, href in page.links if not href.startswith(("/", "#"))]
    for query in ({"where": json.dumps({"label": NASTY})}, {"sort": NASTY}, {NASTY: NASTY}, {"where": NASTY}):
        answer = visitor.open("/api/v1/results", query_string=query)
        assert NASTY[:15] not in answer.text
    assert NASTY[:15] not in visitor.open("/login", query_string={"next": NASTY, "token": NASTY}).text
    assert NASTY[:15] not in visitor.open(f"/{NASTY}").text


def test_documents_lead_to_one_another_and_back(visitor: Visitor, admin: Api, serve: Callable[..., Any]) -> None:
    (one,) = predicted(admin, serve)
    page = visitor.page(f"/api/v1/results/{one['_id']}")
    of_input = visitor.page(page.link(one["input"]))
    assert of_input.answer.request.path == f"/api/v1/inputs/{one['input']}"
    back = visitor.page(of_input.link("Results of this input"))
    shown = f"…{one['_id'][-8:]}"
    assert back.link(shown) == f"/api/v1/results/{one['_id']}"
    assert back.link("See these in the console") == "/console/results"
    assert page.link("See it in the console") == f"/console/results/{one['_id']}"
    versions = visitor.page(page.link("sums"))
    (model,) = admin.get("models").json["_items"]
    of_model = visitor.page(versions.link(f"…{model['_id'][-8:]}"))
    assert of_model.link("See it in the console") == "/console/models/sums?version=1"
    assert one["_id"] in visitor.page(of_model.link("Results of this model")).source
    assert visitor.page(of_model.link("Predict")).has_form("post-fields")
    file = visitor.open(of_input.link("Get an input's tensor as a .npy file"))
    assert (file.mimetype, file.data[:6]) == ("application/x-npy", b"\x93NUMPY")
    assert [name for name, _ in page.links if name == "API"]
    created = admin.get(f"results/{one['_id']}").json["_created"]
    assert f'<time datetime="{created}"' in page.source


def test_long_tensors_are_told_by_their_shape(visitor: Visitor, admin: Api) -> None:
    made = admin.post("inputs", json={"data": [[0.123456] * 784] * 28}).json
    assert (
        "FP32[28, 784]" in visitor.page("/api/v1/inputs").text or "FP64[28, 784]" in visitor.page("/api/v1/inputs").text
    )
    page = visitor.page(f"/api/v1/inputs/{made['_id']}")
    assert "28×784 values" in page.text
    assert page.source.count("0.123456") == 0


def test_a_page_has_the_request_for_curl_and_the_headers_of_the_answer(visitor: Visitor) -> None:
    page = visitor.page('/api/v1/inputs?where={"tags":"it\'s"}&max_results=2')
    command = re.search(r"curl -s '(.*)' \\\n +-H \"Authorization: Bearer \$ALMANAC_KEY\"", page.text)
    assert command is not None
    asked = parse_qs(urlsplit(command[1].replace("'\"'\"'", "'")).query)
    assert asked == {"where": ['{"tags":"it\'s"}'], "max_results": ["2"]}
    assert "Content-Type: application/json" in page.text
    assert page.answer.headers["X-Request-ID"] in page.text
    example = visitor.page("/api/v1/models/none/predict").text
    assert "-X POST" in example
    assert "instances" in example


@pytest.mark.parametrize(
    ("filled", "asked"),
    [
        ({"field": ["label"], "operator": ["$eq"], "value": ["3"]}, {"label": "3"}),
        ({"field": ["version"], "operator": ["$gt"], "value": ["2"]}, {"version": {"$gt": 2}}),
        ({"field": ["truth"], "operator": ["$exists"], "value": ["false"]}, {"truth": {"$exists": False}}),
        ({"field": ["label"], "operator": ["$regex"], "value": ["a.b"]}, {"label": {"$regex": r"^a\.b"}}),
        ({"field": ["label"], "operator": ["$in"], "value": ["a, b"]}, {"label": {"$in": ["a", "b"]}}),
        (
            {"field": ["score", "score"], "operator": ["$gte", "$lt"], "value": ["0.5", "0.9"]},
            {"$and": [{"score": {"$gte": 0.5}}, {"score": {"$lt": 0.9}}]},
        ),
        (
            {"field": ["label", "model"], "operator": ["$eq", "$ne"], "value": ["a", "m"]},
            {"label": "a", "model": {"$ne": "m"}},
        ),
    ],
)
def test_a_filter_is_an_address_and_the_address_shows_the_filter(
    visitor: Visitor, filled: dict[str, Any], asked: Any
) -> None:
    form = visitor.page("/api/v1/results").form("Show")
    answer = visitor.send(form, {**filled, "sort": "score", "order": "down", "count": "true"}, follow=False)
    assert answer.status_code == 303
    where = urlsplit(answer.headers["Location"])
    query = {name: values[0] for name, values in parse_qs(where.query).items()}
    assert where.path == "/api/v1/results"
    assert {**query, "where": json.loads(query["where"])} == {"where": asked, "sort": "-score", "count": "true"}
    page = visitor.page(answer.headers["Location"])
    assert page.status == 200
    again = page.form("Show")
    rows = {name: [value for key, value in again.fields if key == name] for name in ("field", "operator", "value")}
    count = len(filled["field"])
    assert {name: values[:count] for name, values in rows.items()} | {"value": None} == {**filled, "value": None}
    # What it shows means the same again.
    assert visitor.send(again, follow=False).headers["Location"] == answer.headers["Location"]


def test_a_filter_that_rows_cannot_show_stays_as_it_is_and_a_wrong_one_says_why(visitor: Visitor) -> None:
    asked = '{"$or":[{"label":"a"},{"label":"b"}]}'
    form = visitor.page(f"/api/v1/results?where={asked}").form("Show")
    assert form.get("where") == asked
    page = visitor.sent(form, {"where": "{"})
    assert page.status == 400
    assert page.form("Show").get("where") == "{"
    assert "where" in page.text
    page = visitor.sent(form, {"field": ["version"], "operator": ["$eq"], "value": ["two"], "where": ""})
    assert page.status == 400
    assert "expected" in page.text


def test_pages_of_a_list_and_only_what_is_asked_is_counted(mongod: str, replica: Callable[..., Api]) -> None:
    api = replica()
    api.post("inputs", json=[{"data": ROW, "tags": ["x"]} for _ in range(60)])
    visitor = Visitor(api.http)
    visitor.headers["Authorization"] = api.headers["Authorization"]
    page = visitor.page("/api/v1/inputs?sort=-_id&max_results=25")
    assert "1 to 25" in page.text
    second = visitor.page(page.link("Next page"))
    assert "26 to 50" in second.text
    third = visitor.page(second.link("Next page"))
    assert "51 to 60" in third.text
    assert "Next page" not in third.text
    assert visitor.page(third.link("Previous page")).answer.request.query_string == b"sort=-_id&max_results=25&page=2"
    assert "of 60" not in third.text
    assert "51 to 60 of 60" in visitor.page(third.link("Count all")).text
    assert "There is nothing on this page" in visitor.page("/api/v1/inputs?page=9").text
    assert "There are none yet" in visitor.page("/api/v1/jobs").text
    assert "Nothing matches" in visitor.page('/api/v1/inputs?where={"tags":"y"}').text


@pytest.mark.parametrize("role", ["reader", "user", "editor"])
def test_nobody_sees_what_is_anothers_nor_a_button_that_is_not_for_it(
    admin: Api, person: Callable[..., Visitor], serve: Callable[..., Any], role: str
) -> None:
    (theirs,) = predicted(admin, serve)
    one = person(role)
    home = one.page("/api/v1/")
    assert not [href for _, href in home.links if "/keys" in href or "/users" in href]
    for name in ("keys", "users"):
        page = one.page(f"/api/v1/{name}")
        assert page.status == 403
        assert "It takes admin" in page.text or "it takes admin" in page.text
        assert not [form for form in page.forms if form.action.startswith("/browse")]
    for path in (f"/api/v1/results/{theirs['_id']}", f"/api/v1/inputs/{theirs['input']}"):
        assert one.page(path).status == 404
    assert "There are none yet" in one.page("/api/v1/results").text
    assert one.page("/api/v1/inputs").has_form("post-fields") is (role != "reader")
    assert one.page("/api/v1/jobs").has_form("post-fields") is (role != "reader")
    assert one.page("/api/v1/models").has_form("post-files") is (role == "editor")
    (model,) = admin.get("models").json["_items"]
    page = one.page(f"/api/v1/models/{model['_id']}")
    # The name is another's: who may change models may not change this one.
    assert [form.action for form in page.forms if form.action.startswith("/browse")] == []
    assert ("Predict" in [words for words, _ in page.links]) is (role != "reader")
    own = admin.http.application.extensions["service"].db["inputs"]
    id_ = own.insert_one(stamp_new({"data": [1.0], "source": "rest"}, "alice")).inserted_id
    assert one.page(f"/api/v1/inputs/{id_}").has_form("delete-button") is (role != "reader")


def test_every_address_that_is_described_has_its_page(visitor: Visitor, admin: Api) -> None:
    """Built from the description: nothing is to be written for a new route or resource."""
    id_ = str(ObjectId())
    paths = [path for path in admin.get("/openapi.json").json["paths"] if path.startswith("/api/v1")]
    assert len(paths) > 20
    for path in paths:
        for name, value in {"id": id_, "name": "m", "version": "1", "alias": "a"}.items():
            path = path.replace(f"{{{name}}}", value)
        page = visitor.page(path)
        assert page.status in (200, 404), path
        assert page.status == 200 or "It may have been deleted" in page.text


def test_a_new_resource_has_its_page_by_itself(
    monkeypatch: pytest.MonkeyPatch, replica: Callable[..., Api], client: Client
) -> None:
    class Notes(Resource):
        name = "inputs"
        singular = "note"
        about = "What somebody noted."
        schema = {
            "text": {"type": "string", "required": True, **described("The text.")},
            "stars": {"type": "integer", "min": 0, "max": 5, **described("How good it is.")},
            "kind": {"type": "string", "allowed": ["good", "bad"], **described("What it is.")},
            "owner": {"type": "string", "readonly": True, **described("Whose it is.")},
        }
        resource_methods = ["GET", "POST"]
        item_methods = ["GET", "PATCH", "DELETE"]
        example = {"_id": "6b00e4c0d035a01704bf37b4", "text": "good", "_etag": "x"}

    from api.openapi import json_schema

    monkeypatch.setitem(RESOURCES, "inputs", Notes())
    monkeypatch.setattr(json_schema, "RESOURCES", RESOURCES)
    monkeypatch.setattr("api.openapi.describe.SCHEMAS", {**json_schema.named.__globals__["SCHEMAS"]})
    api = replica()
    visitor = Visitor(api.http)
    visitor.headers["Authorization"] = api.headers["Authorization"]
    page = visitor.page("/api/v1/inputs")
    assert "What somebody noted." in page.text
    names = [name for name in page.form("post-fields").names() if name.startswith("f.")]
    assert names == ["f.text", "f.stars", "f.kind"]
    assert "How good it is. 0 to 5." in page.text


class Commands(monitoring.CommandListener):
    """Counts that were asked for, and have no end."""

    def __init__(self) -> None:
        self.counts: list[Any] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        ends = "limit" in event.command or any("$limit" in step for step in event.command.get("pipeline", ()))
        if event.command_name in ("count", "aggregate") and not ends:
            self.counts.append(event.command)

    def succeeded(self, event: Any) -> None: ...
    def failed(self, event: Any) -> None: ...


@pytest.mark.usefixtures("sound")
def test_pages_are_quick_with_a_hundred_thousand_results(
    mongod: str, client: Client, tmp_path: Any, serve: Callable[..., Any]
) -> None:
    from api import create_app
    from settings import Settings
    from tests.conftest import ADMIN_KEY

    results = database_of(client)["results"]
    results.drop_indexes()  # other tests stored lists in them, which MongoDB remembers
    prepare(database_of(client))
    ids = [ObjectId() for _ in range(100_000)]
    common = {"model": "sums", "version": 1, "status": "succeeded", "output": {"y": [0.1] * 10}, "label": "3"}
    for at in range(0, len(ids), 20_000):
        owners = ("alice", "bob")
        results.insert_many(
            [
                stamp_new({"_id": id_, "input": id_, "score": 0.5, **common}, owners[number % 2])
                for number, id_ in enumerate(ids[at : at + 20_000])
            ],
            ordered=False,
        )
    serve()
    commands = Commands()
    listening: Any = MongoClient(mongod, event_listeners=[commands], tz_aware=True)
    settings = Settings(data_dir=tmp_path, admin_key=ADMIN_KEY, secret_key="x" * 40, _env_file=None)
    app = create_app(settings, listening)
    one = Visitor(app.test_client())
    one.log_in(key=ADMIN_KEY)
    home = one.page("/api/v1/")  # the first puts the descriptions together
    paths = [href for _, href in home.links if href.startswith("/api/v1/")]
    paths += ["/api/v1/results?sort=-_id&page=3", f"/api/v1/results/{ids[5]}"]
    paths += [f'/api/v1/results?where={{"input":"{ids[7]}"}}&sort=-_id', "/api/v1/models/sums/predict", "/login"]
    for path in dict.fromkeys(paths):
        assert_quick(one, path)
    assert commands.counts == []
    one.open("/api/v1/results?count=true")
    assert len(commands.counts) == 1
    for path in ("/", "/console/models", "/console/models/sums", "/console/models/sums/try"):
        assert_quick(one, path)
    app.extensions["service"].close()
    listening.close()


def assert_quick(one: Visitor, path: str) -> None:
    """The quickest of three: other tests are under way on this machine."""
    took = []
    for _ in range(3):
        began = time.perf_counter()
        assert one.open(path).status_code == 200
        took.append(time.perf_counter() - began)
    assert min(took) < 0.15, (path, took)


def test_a_page_is_made_anew_whatever_the_browser_kept(visitor: Visitor, admin: Api) -> None:
    made = admin.post("inputs", json={"data": ROW}).json
    headers = {"If-None-Match": f'"{made["_etag"]}"', "If-Modified-Since": "Wed, 21 Oct 2099 07:28:00 GMT"}
    page = Page(visitor.open(f"/api/v1/inputs/{made['_id']}", headers=headers))
    assert page.status == 200
    assert made["_id"] in page.source


def test_errors_that_are_nobodys_fault_have_pages_too(
    visitor: Visitor, admin: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Sessions, "caller_of", raising(StorageUnavailable("the database is not available")))
        page = visitor.page("/api/v1/inputs")
        assert (page.status, page.answer.mimetype) == (503, "text/html")
        assert page.answer.headers["Retry-After"] == "1"
        assert "Wait a moment" in page.text
    with monkeypatch.context() as patched:
        patched.setattr(SharedMongo, "find", raising(RuntimeError("a defect")))
        page = visitor.page("/api/v1/inputs")
        assert (page.status, page.answer.mimetype) == (500, "text/html")
        assert page.answer.headers["X-Request-ID"] in page.text
        assert "a defect" not in page.text
    limited = Visitor(admin.http)
    monkeypatch.setattr(SharedMongo, "find", raising(Overloaded("too much")))
    limited.headers["Authorization"] = admin.headers["Authorization"]
    assert limited.page("/api/v1/inputs").status == 503


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def test_what_is_streamed_is_not_waited_for(visitor: Visitor, admin: Api, serve: Callable[..., Any]) -> None:
    serve()
    job = admin.post("jobs", json={"model": "sums", "where": {}}).json
    for _ in range(30):  # more than may wait at once
        page = visitor.page(f"/api/v1/jobs/{job['_id']}/events")
        assert page.status == 200
        assert "Server-Sent Events" in page.text
        assert "/events" in page.text
    waiting = visitor.open(f"/api/v1/jobs/{job['_id']}", headers={"Prefer": "wait=60"})
    assert waiting.status_code == 200
