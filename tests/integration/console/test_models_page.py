"""The console's models: lists, uploads, aliases, builds; and no button that its reader may not press."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from ml.database.client import database_of
from tests.conftest import Api
from tests.integration.console.browser import Visitor
from tests.integration.rest import Client, stored

TABLE = [
    {"executor": "keras", "threads": 2, "ok": True, "ms": {"1": 522.0}},
    {"executor": "onnx", "threads": 1, "ok": True, "worst": 3e-7, "rows": 28, "ms": {"1": 0.029, "8": 0.122}},
    {"executor": "tf", "threads": 2, "ok": False, "reason": "differs by <0.5>", "ms": {}},
]


def built(client: Client, version: int, **fields: Any) -> None:
    database_of(client)["models"].update_one({"version": version}, {"$set": fields})


@pytest.fixture
def two(serve: Callable[..., Any], client: Client) -> None:
    """A model with two versions, the first of which is stable."""
    serve(version=1, aliases={"stable": 1, "old": 1}, classes=["a", "b"], owner="eve")
    serve(version=2, aliases={"stable": 1, "old": 1}, owner="eve")


def test_names_with_their_versions(visitor: Visitor, two: None, serve: Callable[..., Any], client: Client) -> None:
    serve(name="other", version=3, state="loading")
    serve(name="gone", state="retired")
    page = visitor.page("/console/models")
    assert [words for words, href in page.links if href.startswith("/console/models/") and "/try" not in href] == [
        "other",
        "sums",
    ]
    assert "2 versions" in page.text
    assert "stable → 1" in page.text
    assert [href for _, href in page.links if href.endswith("/try")] == ["/console/try", "/console/models/sums/try"]


def test_a_version_with_its_build(visitor: Visitor, two: None, client: Client) -> None:
    build = {"table": TABLE, "ways": [{"executor": "onnx", "threads": 1}], "log": ["one", "<two>"], "seconds": 6.1}
    built(client, 2, build=build, size=718_900, description="what <b>it</b> is")
    page = visitor.page("/console/models/sums")
    for words in ("Version 2", "ONNX Runtime chosen", "equal on 28 rows, at most 3.0e-07 off", "differs by <0.5>",
                  "0.029", "0.122", "522.0", "one\n<two>", "6.1 s", "718.9 kB", "what <b>it</b> is"):  # fmt: skip
        assert words in page.text, words
    assert "Version 1" in visitor.page("/console/models/sums?version=1").text
    assert "a, b" in visitor.page("/console/models/sums?version=1").text


@pytest.mark.parametrize(
    ("state", "words"),
    [("loading", "It waits to be built"), ("failed", "It cannot be served"), ("retired", "its results stay")],
)
def test_a_version_that_is_not_available_says_so(
    visitor: Visitor, serve: Callable[..., Any], state: str, words: str, client: Client
) -> None:
    serve(state=state)
    page = visitor.page("/console/models/sums?version=1")
    assert words in page.text
    assert ("/static/build.js" in page.source) == (state == "loading")
    assert page.has_form("Retire version 1") == (state != "retired")


def test_an_alias_is_moved_with_one_click(visitor: Visitor, two: None, client: Client) -> None:
    form = visitor.page("/console/models/sums").form("stable")
    page = visitor.sent(form)
    assert "stable is sums:2 now." in page.text
    assert {one["version"]: one["aliases"] for one in stored(client, "models")} == {1: ["old"], 2: ["stable"]}
    # The same form again: it was made for the version as it was.
    page = visitor.sent(form)
    assert "Somebody changed this version meanwhile" in page.text
    forms = [form for form in page.forms if form.fields and dict(form.fields).get("do") == "remove"]
    page = visitor.sent(next(form for form in forms if form.get("alias") == "old"))
    assert "old is no alias of sums:1 any more." in page.text
    page = visitor.page("/console/models/sums?version=2")
    page = visitor.sent(page.form("Give it"), {"alias": "canary"})
    assert "canary is sums:2 now." in page.text
    page = visitor.sent(page.form("Give it"), {"alias": "no alias!"})
    assert "aliases: expected different names" in page.text
    assert "Say which alias" in visitor.sent(page.form("Give it"), {"alias": ""}).text


def test_a_version_is_retired(visitor: Visitor, two: None, client: Client) -> None:
    page = visitor.sent(visitor.page("/console/models/sums?version=1").form("Retire version 1"))
    assert "sums:1 is retired." in page.text
    assert [one["state"] for one in stored(client, "models")] == ["retired", "available"]


@pytest.mark.parametrize(("role", "owner"), [("reader", "eve"), ("user", "eve"), ("editor", "mallory")])
def test_who_may_not_sees_no_button_and_is_refused(
    visitor: Visitor, person: Callable[..., Visitor], two: None, client: Client, role: str, owner: str
) -> None:
    one = person(role, owner)
    page = one.page("/console/models/sums")
    assert [form.action for form in page.forms if form.action != "/logout"] == []
    assert one.page("/console/models").has_form("Upload") == (role == "editor")
    assert ("Try it" in [words for words, _ in page.links]) == (role != "reader")
    form = visitor.page("/console/models/sums").form("stable")
    token = dict(one.page("/login").forms[0].fields)["csrf_token"]
    page = one.sent(form, {"csrf_token": token})
    assert page.status == 403 or "belongs to another owner" in page.text
    assert stored(client, "models")[1]["aliases"] == []


def test_forms_of_other_sites_do_nothing(visitor: Visitor, two: None, client: Client) -> None:
    form = visitor.page("/console/models/sums").form("stable")
    page = visitor.sent(form, {"csrf_token": "another"})
    assert (page.status, "You may not do this" in page.text) == (403, True)
    upload = visitor.page("/console/models").form("upload-form")
    assert visitor.sent(upload, {"csrf_token": "x", "name": "n", "file": (io.BytesIO(b"x"), "m.keras")}).status == 403
    assert len(stored(client, "models")) == 2
    assert stored(client, "models")[1]["aliases"] == []


def test_an_upload_without_scripts(visitor: Visitor, person: Callable[..., Visitor], client: Client) -> None:
    page = visitor.page("/console/models")
    assert "There is no model yet." in page.text
    form = page.form("upload-form")
    file = (io.BytesIO(b"some bytes"), "m.keras")
    page = visitor.sent(form, {"name": "garden", "file": file, "classes": "a, b", "aliases": "stable"})
    assert "garden:1 is uploaded." in page.text
    assert "It waits to be built" in page.text
    [model] = stored(client, "models")
    assert (model["name"], model["classes"], model["pending_aliases"]) == ("garden", ["a", "b"], ["stable"])
    editor = person("editor", "mallory")
    page = editor.sent(
        editor.page("/console/models").form("upload-form"), {"name": "garden", "file": (io.BytesIO(b"x"), "m")}
    )
    assert page.status == 403
    assert "belongs to another owner" in page.text


def test_an_upload_that_is_refused_keeps_what_was_typed(visitor: Visitor, client: Client) -> None:
    form = visitor.page("/console/models?name=garden").form("upload-form")
    assert form.get("name") == "garden"
    page = visitor.sent(form, {"name": "a garden", "classes": "a,a", "description": "<roses>"})
    assert page.status == 422
    assert "file: expected a .keras file, got nothing" in page.text
    form = page.form("upload-form")
    assert (form.get("name"), form.get("classes"), form.get("description").strip()) == ("a garden", "a,a", "<roses>")
    assert stored(client, "models") == []


@pytest.mark.parametrize(
    "path", ["/console/models/none", "/console/models/sums?version=9", "/console/models/sums?page=7"]
)
def test_what_is_not_there_says_so(visitor: Visitor, two: None, path: str) -> None:
    page = visitor.page(path)
    assert page.status == 404
    assert "There is nothing here" in page.text
    assert "/console/models" in [href for _, href in page.links]


def test_strangers_are_led_to_the_form_and_back(admin: Api, two: None) -> None:
    stranger = Visitor(admin.http)
    answer = stranger.open("/console/models/sums?version=1", follow=False)
    assert (answer.status_code, answer.location) == (303, "/login?next=/console/models/sums%3Fversion%3D1")
