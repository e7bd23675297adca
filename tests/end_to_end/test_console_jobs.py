"""Jobs, results and marking in a real browser, on a real server with its worker: a story, then every page looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from bson import ObjectId
from playwright.sync_api import Browser, Page, expect

from ml.database.client import database_of
from tests.conftest import add_stub
from tests.end_to_end.almanac import Almanac, free_port
from tests.end_to_end.browser import Watched, barriers, moves
from tests.integration.console.results import insert_input, insert_result
from tests.waiting import until

CLASSES = ["setosa", "versicolor", "virginica"]
ROWS = 60


@pytest.fixture(scope="module")
def almanac(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Almanac]:
    """With a model that has classes, rows to be scored, and results that nobody has marked."""
    directory = tmp_path_factory.mktemp("console")
    almanac = Almanac(directory / "data", free_port())
    try:
        almanac.wait_for("^Almanac serves at")
        with almanac.database() as client:
            outputs = [{"name": "species", "dtype": "FP32", "shape": [3]}]
            add_stub(client, directory, name="iris", classes=CLASSES, outputs=outputs, fail_on=7.0)
            inputs = [{"name": "image", "dtype": "FP32", "shape": [8, 8]}]
            add_stub(client, directory, name="pictures", classes=CLASSES, inputs=inputs, outputs=outputs)
            db = database_of(client)
            for n in range(ROWS):
                insert_input(db, [1.0, 2.0, float(n)], tags=["garden"], meta={"bed": n % 3})
            picture = insert_input(db, [[float(x * y) for x in range(8)] for y in range(8)])
            for at, score in enumerate((0.5, 0.34, 0.4, 0.99)):
                values = [score, (1 - score) / 2, (1 - score) / 2]
                given = {"input": picture, "label": "setosa", "score": score, "output": {"species": values}}
                insert_result(db, at, model="pictures", **given)
            series = insert_input(db, [[float(x % 9), float(x)] for x in range(40)])
            insert_result(db, model="free", input=series, output={"y": [0.5, 1.5]})
            until(lambda: almanac.get("models").json()["_items"], 20, "the models are there")
        yield almanac
    finally:
        almanac.stop()


@pytest.fixture
def watched(browser: Browser, almanac: Almanac) -> Iterator[Watched]:
    """The administrator, logged in."""
    made = Watched(browser, almanac.url, timezone_id="Asia/Kolkata", reduced_motion="reduce")
    made.log_in((almanac.data / "admin.key").read_text().strip())
    yield made
    assert made.complaints == []
    made.context.close()


def id_in(page: Page) -> str:
    """The document that a page is of, by its address."""
    return page.url.partition("?")[0].rpartition("/")[2]


def test_results_are_found_and_marked_by_the_keyboard(watched: Watched, almanac: Almanac) -> None:
    page = watched.open("/console/results")
    page.get_by_text("Filter and order").click()
    page.get_by_label("Model", exact=True).fill("pictures")
    page.get_by_label("Marked", exact=True).select_option("no")
    page.get_by_label("Order").select_option("least")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("td.number")).to_have_text(["0.34", "0.4", "0.5", "0.99"])
    page.get_by_role("link", name="Mark them one by one").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("score 0.34")
    picture = page.get_by_role("img", name="Input as a picture, 8 × 8, float64")
    assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 256
    expect(page.get_by_role("img", name="value by class: setosa 0.34")).to_be_visible()
    first = id_in(page)
    page.keyboard.press("3")
    expect(page.get_by_role("heading", level=1)).to_contain_text("score 0.4")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("score 0.5")
    # Keys that are switched off, or typed into a field, mark nothing.
    page.locator("summary", has_text="Note").click()
    page.get_by_label("Note", exact=True).fill("2")
    page.keyboard.press("2")
    page.get_by_label("Mark with keys").uncheck()
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("2")
    expect(page.get_by_text("Nobody has marked it.")).to_be_visible()
    page.get_by_label("Mark with keys").check()
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", level=1)).to_contain_text("score 0.99")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("heading", level=1)).to_contain_text("score 0.5")
    page.keyboard.press("1")
    expect(page.get_by_role("heading", level=1)).to_contain_text("score 0.99")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Here are none left that are not")).to_be_visible()
    assert almanac.get(f"results/{first}").json()["truth"] == "virginica"
    page = watched.open("/console/models/pictures/truth")
    expect(page.get_by_text("75.0 % are right: 3 of 4 marked results.")).to_be_visible()
    page.get_by_role("link", name="1 that are virginica, called setosa").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("tbody tr a").first.click()
    assert id_in(page) == first


def test_a_job_is_submitted_over_a_filter_and_watched_to_its_end(watched: Watched, almanac: Almanac) -> None:
    page = watched.open("/console/jobs")
    page.get_by_label("Model", exact=False).first.select_option("iris")
    page.get_by_label("With the tags").fill("garden")
    expect(page.locator("#matches")).to_have_text(f"{ROWS} inputs match.")
    page.get_by_label("And, in MongoDB's language").fill('{"meta.bed": ')
    expect(page.locator("#matches")).to_contain_text("not a filter as JSON")
    page.get_by_label("And, in MongoDB's language").fill('{"meta.bed": {"$gt": 0}}')
    expect(page.locator("#matches")).to_have_text("40 inputs match.")
    page.get_by_label("Stored since").fill("2026-01-01T05:30:00")
    expect(page.get_by_text("in your time, Asia/").first).to_be_visible()
    expect(page.locator("#matches")).to_have_text("40 inputs match.")
    # Slow enough to be looked at.
    page.get_by_label("Rows a second").fill("10")
    page.get_by_role("button", name="Submit the job").click()
    expect(page.get_by_text("The job is submitted.")).to_be_visible()
    page.evaluate("window.stayed = true")
    job = almanac.get(f"jobs/{id_in(page)}").json()
    assert job["where"]["_created"] == {"$gte": "2026-01-01T00:00:00.000Z"}, "half past five in India"
    expect(page.locator("h1 [data-state]")).to_have_text("running", timeout=15_000)
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.locator("[data-rate]")).to_have_text(re.compile(r"\d+"), timeout=15_000)
    expect(page.locator("h1 [data-state]")).to_have_text("succeeded", timeout=30_000)
    expect(page.locator("[data-done]")).to_have_text("40")
    expect(page.locator("[data-failed]")).to_have_text("1")
    expect(page.locator("progress")).to_have_js_property("value", 100)
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    expect(page.locator("#told")).to_have_text("The job is succeeded.")
    assert page.evaluate("window.stayed"), "by events, not by loading the page anew"
    page.get_by_role("button", name="Show what failed since").click()
    expect(page.get_by_role("cell", name=re.compile("the stub was told to fail"))).to_be_visible()
    page.get_by_role("link", name="Its results").click()
    expect(page.locator("tbody tr")).to_have_count(25)


def test_another_job_is_paused_resumed_and_canceled(watched: Watched, almanac: Almanac) -> None:
    follow = {"model": "iris", "where": {"tags": "garden"}, "follow": True, "max_rows_per_second": 2}
    id_ = almanac.post("jobs", json=follow).json()["_id"]
    page = watched.open(f"/console/jobs/{id_}")
    for button, state in (("Pause", "paused"), ("Resume", "queued|running"), ("Cancel", "canceled")):
        page.get_by_role("button", name=button).click()
        expect(page.locator("h1 [data-state]")).to_have_text(re.compile(state))
    assert almanac.get(f"jobs/{id_}").json()["status"] == "canceled"
    # Where there is no place for one more who listens, it is asked.
    again = almanac.post("jobs", json=follow).json()["_id"]
    page.route("**/events", lambda route: route.fulfill(status=503))
    page = watched.open(f"/console/jobs/{again}")
    expect(page.locator("[data-done]")).not_to_have_text("0", timeout=15_000)
    patch(almanac, again, {"status": "canceled"})
    expect(page.locator("h1 [data-state]")).to_have_text("canceled", timeout=15_000)
    # The list follows what runs too.
    other = almanac.post("jobs", json={**follow, "follow": False, "where": {"meta.bed": 1}}).json()["_id"]
    page = watched.open("/console/jobs")
    row = page.locator(f"[data-job='{other}']")
    expect(row.locator("[data-done]")).not_to_have_text("0", timeout=15_000)
    patch(almanac, other, {"status": "canceled"})
    expect(row.locator("[data-state]")).to_have_text("canceled", timeout=15_000)


def patch(almanac: Almanac, job: str, changes: dict[str, Any]) -> None:
    """Change a job as a program does."""
    headers = {**almanac.headers, "If-Match": "*"}
    assert requests.patch(f"{almanac.url}/api/v1/jobs/{job}", json=changes, headers=headers, timeout=10).ok


def test_no_page_has_barriers_or_is_too_wide_or_moves(watched: Watched, almanac: Almanac) -> None:
    jobs = almanac.get("jobs?sort=-_id").json()["_items"]
    failed = next(job for job in jobs if job["progress"]["failed"])
    result = almanac.get('results?where={"model":"pictures"}').json()["_items"][0]
    series = almanac.get('results?where={"model":"free"}').json()["_items"][0]
    paths = [
        "/console/jobs?new=1",
        "/console/jobs?status=queued",
        f"/console/jobs/{failed['_id']}",
        "/console/results?model=pictures&order=least",
        "/console/results?label=nothing",
        f"/console/results/{result['_id']}",
        f"/console/results/{series['_id']}",
        "/console/models/pictures/truth",
        "/console/models/iris/truth",
        f"/console/jobs/{ObjectId()}",
    ]
    wrong = []
    for path in paths:
        page = watched.open(path)
        if moves(page):
            wrong.append(f"{path} moves")
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        wrong += barriers(page)
        page.emulate_media(color_scheme="dark")
        wrong += [f"dark: {text}" for text in barriers(page, "color-contrast")]
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 340, "height": 800})
        if page.evaluate("document.documentElement.scrollWidth") > 340:
            wrong.append(f"{path} is wider than a narrow screen")
        page.set_viewport_size({"width": 1200, "height": 900})
    assert wrong == []


def test_without_scripts_pages_do_the_same(browser: Browser, almanac: Almanac, tmp_path: Path) -> None:
    plain = Watched(browser, almanac.url, java_script_enabled=False)
    page = plain.open("/login?next=/console/jobs?new=1")
    page.get_by_label("API key").fill((almanac.data / "admin.key").read_text().strip())
    page.get_by_role("button", name="Log in with the key").click()
    page = plain.open("/console/jobs?new=1")
    page.locator("#target").select_option("iris")
    page.get_by_label("With the tags").fill("garden")
    page.get_by_role("button", name="Count what matches").click()
    expect(page.locator("#matches")).to_have_text(f"{ROWS} inputs match.")
    expect(page.locator("#target")).to_have_value("iris")
    page.get_by_label("Rows a second").fill("1")
    page.get_by_role("button", name="Submit the job").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("h1 [data-state]")).to_have_text("canceled")
    plain.context.close()
