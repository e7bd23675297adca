"""Results as pages: found, looked at beside their input, marked one after the other; and nobody sees another's."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bson import ObjectId
from PIL import Image

from api.console.result_filter import filter_of
from ml.database.client import database_of
from ml.tensors import to_stored
from tests.integration.console.browser import Page, Visitor
from tests.integration.console.results import insert_input, insert_result
from tests.integration.rest import Client

CLASSES = ["setosa", "versicolor", "virginica"]
HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture
def db(client: Client, stub: Callable[..., Any]) -> Any:
    """With a model that has classes, and one that has none."""
    stub(client, classes=CLASSES, outputs=[{"name": "y", "dtype": "FP32", "shape": [3]}])
    stub(client, name="free")
    stub(client, name="pictures", inputs=[{"name": "image", "dtype": "FP32", "shape": [8, 8, 1]}])
    return database_of(client)


def unmarked(db: Any, *scores: float, **fields: Any) -> list[str]:
    """Results of the model with classes, with these scores."""
    given = {"label": "setosa", "output": {"y": [0.2, 0.5, 0.3]}, **fields}
    return [insert_result(db, at, score=score, **given) for at, score in enumerate(scores)]


def ids_on(page: Page) -> list[str]:
    """The results of a list, in order."""
    links = [href.split("?")[0].removeprefix("/console/results/") for _, href in page.links]
    return [link for link in links if ObjectId.is_valid(link)]


def test_a_list_is_filtered_and_ordered(db: Any, visitor: Visitor) -> None:
    first, second, third = unmarked(db, 0.9, 0.4, 0.6)
    marked = unmarked(db, 0.1, truth="virginica")[0]
    assert set(ids_on(visitor.page("/console/results"))) == {first, second, third, marked}
    page = visitor.page("/console/results?model=sums&version=1&marked=no&order=least")
    assert ids_on(page)[-3:] == [second, third, first]
    wrong = visitor.page("/console/results?marked=wrong")
    assert ids_on(wrong) == [marked]
    assert "virginica" in wrong.text
    assert ids_on(visitor.page("/console/results?label=setosa&truth=virginica&status=succeeded")) == [marked]
    form = visitor.page("/console/results?marked=no").form("filter")
    assert (form.get("marked"), form.get("model")) == ("no", "")
    assert ids_on(visitor.sent(form, {"marked": "yes", "model": "sums"})) == [marked]


VIEWS = [
    ("", "Newest first", ""),
    ("model=sums&version=1", "Newest first", "sums version 1. Show all"),
    ("model=sums&marked=wrong&order=least", "Marked, and wrong", "sums, least certain first. Show all"),
    ("marked=wrong", "Marked, and wrong", "Newest first. Show all"),
    ("label=Setosa", "Newest first", "Called Setosa. Show all"),
    ("marked=yes&order=least", None, "Marked, least certain first. Show all"),
    (f"job={'a' * 24}", "In the order of its inputs", f"Job {'a' * 24}. Show all"),
    (f"job={'a' * 24}&status=failed", "Failed", f"Job {'a' * 24}. Show all"),
]


def test_what_is_shown_is_said_once(db: Any, visitor: Visitor) -> None:
    for query, here, said in VIEWS:
        source = visitor.page(f"/console/results?{query}").source
        assert re.findall(r'aria-current="true">([^<]+)<', source) == ([here] if here else []), query
        shown = "".join(re.findall(r'id="shown">(.*?)</p>', source))
        assert re.sub("<[^>]+>", "", shown) == said, query


def test_an_output_without_a_label_is_shown_where_it_is_short(db: Any, visitor: Visitor) -> None:
    insert_result(db, model="free", output={"y": [1.5, 2.5]})
    insert_result(db, 1, model="free", output={"y": to_stored(np.zeros(90, "f4"))})
    text = visitor.page("/console/results?model=free").text
    assert "y: [1.5, 2.5]" in text
    assert "90 values" in text


WRONG = [
    ("version=x", "expected a whole number"),
    ("job=x", "expected an id of 24 hexadecimal digits, got x"),
    ("since=yesterday", "expected a time such as"),
    ("order=most", "expected least, or nothing"),
    ("marked=maybe", "expected one of no, yes, right, wrong"),
    ("passed=9999999999", "expected a whole number"),
    ("label=a%00b", "zero character"),
]


def test_a_filter_that_is_none_says_so(db: Any, visitor: Visitor) -> None:
    for query, reason in WRONG:
        page = visitor.page(f"/console/results?{query}")
        assert page.status == 422
        assert reason in page.text


def test_empty_lists_say_what_to_do_next(db: Any, visitor: Visitor) -> None:
    assert "There are no results yet" in visitor.page("/console/results").text
    insert_result(db)
    page = visitor.page("/console/results?label=nothing")
    assert "Nothing matches" in page.text
    assert page.link("Show all results") == "/console/results"


def test_a_window_leads_to_the_next(db: Any, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ml.review.windows", "ml.review.results", "api.console.results_page"):
        monkeypatch.setattr(f"{module}.WINDOW", 5)
    made = [insert_result(db, n // 4, label="a" if n == 2 else "b") for n in range(12)]
    page = visitor.page("/console/results?label=a")
    assert "Nothing among the 5 results that were looked at" in page.text
    page = visitor.page(page.link("Look through the next 5"))
    assert ids_on(page) == []
    page = visitor.page(page.link("Look through the next 5"))
    assert ids_on(page) == [made[2]]
    assert "Look through" not in page.text
    assert "further back" in page.text
    # What is put in order is said, however many there are.
    for at in range(2):
        insert_result(db, 50 + at, label="setosa", score=0.5)
    page = visitor.page("/console/results?order=least&model=sums")
    assert "Only the newest 5 results of sums were looked at and put in order" in " ".join(page.text.split())
    page = visitor.page("/console/results?model=sums&version=1&label=setosa")
    assert "Only the newest 5 results of sums were looked through for these." in " ".join(page.text.split())
    assert len(ids_on(page)) == 2


def test_an_address_is_the_filter_and_back() -> None:
    from werkzeug.datastructures import MultiDict

    given = {"model": "m", "version": "2", "marked": "no", "since": "2026-01-01T00:00:00", "order": "least"}
    found = filter_of(MultiDict(given))
    assert found.errors == {}
    assert (found.wanted.model, found.wanted.version, found.wanted.least) == ("m", 2, True)
    assert found.wanted.since is not None
    assert found.wanted.since.isoformat() == "2026-01-01T00:00:00+00:00"
    assert filter_of(MultiDict(p.split("=") for p in found.query().replace("%3A", ":").split("&"))).values == given
    before = filter_of(MultiDict({"until": "2026-02-01", "before": "2026-01-01T00:00:00.123Z", "passed": "3"}))
    assert (before.wanted.until.isoformat()[:10], before.wanted.passed) == ("2026-01-01", 3)  # type: ignore[union-attr]


def test_a_result_is_shown_beside_its_input(db: Any, visitor: Visitor) -> None:
    image = insert_input(db, to_stored(np.linspace(0, 16, 64, dtype="f4").reshape(8, 8, 1)))
    id_ = insert_result(db, model="pictures", input=image)
    page = visitor.page(f"/console/results/{id_}")
    (picture,) = [given for tag, given in page.tags if tag == "img" and given.get("alt")]
    assert (picture["src"], picture["width"]) == (f"/console/inputs/{image}/image.png", "256")
    assert "black is 0, white is 16" in page.text
    png = visitor.open(picture["src"])
    assert (png.status_code, png.mimetype) == (200, "image/png")
    assert Image.open(io.BytesIO(png.data)).size == (256, 256)
    assert f"/console/inputs/{image}/image.png" in visitor.page("/console/results?model=pictures").source
    series = insert_input(db, {"a": to_stored(np.zeros((40, 2), "f4")), "b": ["text"]})
    page = visitor.page(f"/console/results/{insert_result(db, input=series, output={'y': [0.1, 0.7, 0.2]})}")
    assert "Input a, 40 × 2, float32: value by position" in page.text
    assert "Input b, 1, text" in page.text
    assert "Output y, 3, float64: value by class" in page.text
    assert visitor.open(f"/console/inputs/{series}/image.png").status_code == 404
    erased = visitor.page(f"/console/results/{insert_result(db, input=ObjectId())}")
    assert "The input is not stored, or was deleted" in erased.text
    failed = insert_result(db, status="failed", error={"code": "execution_failed", "message": "no <i>"})
    db["results"].update_one({"_id": ObjectId(failed)}, {"$unset": {"output": 1}})
    page = visitor.page(f"/console/results/{failed}")
    assert "no <i> (execution_failed)" in page.text
    assert visitor.open(f"/console/results/{ObjectId()}").status_code == 404
    output = insert_result(db, output={"mask": to_stored(np.ones((16, 16), "f4"))})
    assert visitor.open(f"/console/results/{output}/image.png?name=mask").mimetype == "image/png"
    assert visitor.open(f"/console/results/{output}/image.png?name=other").status_code == 404


def test_marking_leads_through_what_is_not_marked(db: Any, visitor: Visitor) -> None:
    one, two, three = unmarked(db, 0.3, 0.5, 0.7)
    where = "model=sums&version=1&marked=no&order=least"
    page = visitor.page(f"/console/results/{one}?{where}")
    assert "1 of 3" in page.text
    form = page.form("mark")
    assert form.buttons[:3] == [f"{n} {name}" for n, name in enumerate(CLASSES, 1)]
    page = visitor.sent(form, {"truth": "versicolor"})
    assert f"Result {two}" in page.text
    assert "1 of 2" in page.text
    page = visitor.page(page.link("Next"))
    assert f"Result {three}" in page.text
    # From the end back to the beginning.
    page = visitor.sent(page.form("mark"), {"truth": "setosa"})
    assert f"Result {two}" in page.text
    page = visitor.sent(page.form("mark"), {"truth": "setosa"})
    assert "Here are none left that are not" in page.text
    stored = {str(result["_id"]): result["truth"] for result in db["results"].find()}
    assert stored == {one: "versicolor", two: "setosa", three: "setosa"}


def test_a_mark_is_changed_and_taken_away_and_has_a_note(db: Any, visitor: Visitor) -> None:
    one, two = unmarked(db, 0.3, 0.5)
    page = visitor.page(f"/console/results/{two}")
    visitor.sent(page.form("mark"), {"truth": "virginica", "note": "by its <leaves>\r\nalone"})
    page = visitor.page(f"/console/results/{two}")
    assert "Marked as virginica: wrong" in " ".join(page.text.split())
    assert page.form("mark").get("note") == "by its <leaves>\r\nalone"
    page = visitor.sent(page.form("mark"), {"note": ""})
    assert db["results"].find_one({"_id": ObjectId(two)})["note"] is None
    page = visitor.sent(page.form("mark"), {"clear": "1"})
    assert "Nobody has marked it" in page.text
    refused = visitor.sent(page.form("mark"), {})
    assert (refused.status, "Nothing was chosen" in refused.text) == (422, True)
    # Of the newest first, the next that is not marked.
    page = visitor.sent(visitor.page(f"/console/results/{two}").form("mark"), {"truth": "setosa"})
    assert f"Result {one}" in page.text


def test_what_somebody_else_marked_meanwhile_is_not_lost(db: Any, visitor: Visitor) -> None:
    (one,) = unmarked(db, 0.3)
    form = visitor.page(f"/console/results/{one}").form("mark")
    visitor.sent(form, {"truth": "setosa"})
    page = visitor.sent(form, {"truth": "virginica"})
    assert page.status == 412
    assert "Somebody changed it meanwhile" in page.text
    assert db["results"].find_one()["truth"] == "setosa"


def test_a_model_without_classes_takes_text_and_numbers(db: Any, visitor: Visitor) -> None:
    one, two = (insert_result(db, at, model="free") for at in range(2))
    for id_, typed in ((one, "3.5"), (two, "a text")):
        page = visitor.page(f"/console/results/{id_}")
        visitor.sent(page.form("mark-other"), {"other": typed})
    assert [result["truth"] for result in db["results"].find().sort("_created", 1)] == [3.5, "a text"]


def test_many_classes_have_buttons_for_the_likeliest(db: Any, client: Client, stub: Any, visitor: Visitor) -> None:
    names = [f"class {n}" for n in range(40)]
    stub(client, name="wide", classes=names, outputs=[{"name": "y", "dtype": "FP32", "shape": [40]}])
    values = [float(n == 33) + n / 1000 for n in range(40)]
    page = visitor.page(f"/console/results/{insert_result(db, model='wide', output={'y': values}, label='class 33')}")
    form = page.form("mark")
    assert form.buttons[:2] == ["1 class 33", "2 class 39"]
    visitor.sent(page.form("mark-other"), {"other": "7"})
    assert db["results"].find_one()["truth"] == "7", "a class's name is a text"


def test_accuracy_and_confusion_lead_to_the_results(db: Any, visitor: Visitor) -> None:
    for label, truth in (("setosa", "setosa"), ("setosa", "setosa"), ("setosa", "virginica")):
        unmarked(db, 0.5, label=label, truth=truth)
    unmarked(db, 0.5)
    page = visitor.page("/console/models/sums/truth")
    assert "66.7 % are right: 2 of 3 marked results" in page.text
    cells = {given["aria-label"]: given["href"] for tag, given in page.tags if tag == "a" and "aria-label" in given}
    assert list(cells) == ["2 that are setosa, called setosa", "1 that are virginica, called setosa"]
    page = visitor.page(cells["1 that are virginica, called setosa"])
    assert len(ids_on(page)) == 1
    assert visitor.open("/console/models/nothing/truth").status_code == 404
    assert visitor.open("/console/models/sums/truth?version=9").status_code == 404
    assert "Nothing of this version is marked yet" in visitor.page("/console/models/free/truth").text
    insert_result(db, model="free", truth=3)
    assert "names no classes" in visitor.page("/console/models/free/truth").text


def test_an_owner_sees_no_one_elses_and_a_reader_no_buttons(db: Any, person: Callable[..., Visitor]) -> None:
    image = insert_input(db, to_stored(np.zeros((8, 8), "f4")), "alice")
    theirs = insert_result(
        db, owner="alice", input=image, label="setosa", truth="virginica", output={"y": to_stored(np.zeros((8, 8)))}
    )
    alice, bob, reader = person(), person(owner="bob"), person("reader")
    assert ids_on(alice.page("/console/results")) == ids_on(reader.page("/console/results")) == [theirs]
    for path in ("/console/results", "/console/results?model=sums&version=1&marked=yes", "/console/models/sums/truth"):
        assert theirs not in bob.page(path).source
        assert "virginica, called" not in bob.page(path).source
    for path in (f"results/{theirs}", f"results/{theirs}/image.png?name=y", f"inputs/{image}/image.png"):
        assert alice.open(f"/console/{path}").status_code == 200, path
        assert bob.open(f"/console/{path}").status_code == 404, path
    page = alice.page(f"/console/results/{theirs}")
    assert reader.page(f"/console/results/{theirs}").forms[1:] == [], "but for logging out"
    bobs = bob.page("/console/results").form("Log out").get("csrf_token")
    sent = {"csrf_token": bobs, "truth": "x"}
    answer = bob.open(f"/console/results/{theirs}", "POST", data=sent, headers={"Origin": "http://localhost"})
    assert answer.status_code == 404
    token = reader.page("/console/results").form("Log out").get("csrf_token")
    sent = {"csrf_token": token, "truth": "x"}
    assert reader.open(f"/console/results/{theirs}", "POST", data=sent).status_code == 403
    assert alice.open(f"/console/results/{theirs}", "POST", data={"truth": "x"}).status_code == 403, "without a token"
    assert db["results"].find_one()["truth"] == "virginica"
    assert alice.send(page.form("mark"), {"truth": "setosa"}).status_code == 200


def test_what_documents_hold_is_text_on_pages(db: Any, client: Client, stub: Any, visitor: Visitor) -> None:
    stub(client, name="hostile", classes=[HOSTILE, "b"])
    fields = {"label": HOSTILE, "truth": HOSTILE, "note": HOSTILE, "meta": {HOSTILE: HOSTILE}, "owner": HOSTILE}
    input_ = insert_input(db, {HOSTILE: [HOSTILE]})
    error = {"code": HOSTILE, "message": HOSTILE}
    id_ = insert_result(db, model="hostile", input=input_, score=0.5, error=error, **fields)
    pages = [visitor.page(f"/console/results/{id_}?label={HOSTILE}"), visitor.page("/console/models/hostile/truth")]
    for page in [*pages, visitor.page(f"/console/results?model=hostile&truth={HOSTILE}")]:
        assert page.status == 200
        assert HOSTILE in page.text
        assert "<script>alert" not in page.source
        assert not [given for _, given in page.tags if "style" in given or any(name.startswith("on") for name in given)]
        assert "unsafe-inline" not in page.answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "document",
    [
        {"model": 7, "version": "x", "status": {"a": 1}, "label": {"a": 1}, "score": "x", "truth": {"a": 1}},
        {"output": [1, 2], "input": "x", "job": "y", "error": "no", "timing": "x", "_created": "x", "meta": 3},
        {
            "output": {"y": {"dtype": "FP32", "shape": "x", "data": 1}},
            "error": {"message": 7},
            "timing": {"batch": "x"},
        },
    ],
)
def test_what_other_programs_stored_is_shown_somehow(db: Any, visitor: Visitor, document: dict[str, Any]) -> None:
    id_ = db["results"].insert_one({"model": "sums", "version": 1, **document}).inserted_id
    assert visitor.open(f"/console/results/{id_}").status_code == 200
    for query in ("", "?order=least", "?marked=wrong", "?model=sums&version=1&marked=right"):
        assert visitor.open(f"/console/results{query}").status_code == 200
    assert visitor.open("/console/models/sums/truth").status_code == 200
