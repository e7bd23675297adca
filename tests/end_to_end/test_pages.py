"""Pages in a real browser, with scripts and without: nothing stands in anyone's way, nothing moves, nothing leaves.

What they look like is left in build/screenshots, in light and dark, and narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from playwright.sync_api import Browser, expect

from api import create_app
from ml.database.client import database_of
from ml.database.documents import stamp_new
from settings import Settings
from tests.conftest import ADMIN_KEY, Api
from tests.end_to_end.browser import Watched, barriers, moves, served

SCREENSHOTS = Path(__file__).parents[2] / "build/screenshots"


@pytest.fixture
def documents(api: Api, client: Any, stub: Callable[..., Any]) -> dict[str, str]:
    """A document of each resource: its path."""
    stub(client, classes=["a", "b"], aliases={"stable": 1})
    predicted = api.post("models/sums/predict", json={"instances": [[1, 2, 3]] * 4}).json["predictions"][0]
    job = api.post("jobs", json={"model": "sums", "inputs": [predicted["input"]]}).json
    told = {"job": ObjectId(job["_id"]), "event": "failed", "url": "https://x.example/", "status": "failed"}
    told = stamp_new({"_id": ObjectId(), **told, "attempt": 12, "n": 1, "host": "x.example"}, "admin")
    database_of(client)["deliveries"].insert_one(told)
    key = api.post("keys", json={"role": "user", "owner": "alice"}).json
    user = api.post("users", json={"name": "bob", "role": "user", "password": "four violet otters juggle"}).json
    ids = {"inputs": predicted["input"], "results": predicted["_id"], "jobs": job["_id"], "deliveries": told["_id"]}
    ids |= {"keys": key["_id"], "users": user["_id"], "models": api.get("models").json["_items"][0]["_id"]}
    return {name: f"/api/v1/{name}/{id_}" for name, id_ in ids.items()}


#: One page of each kind, which is looked at in dark and on a narrow screen too.
KINDS = ("log-in", "api", "predict", "results", "models-one", "jobs-one", "filtered", "not-there")


def look_at(watched: Watched, name: str, path: str) -> list[str]:
    """Look at a page in light and dark, wide and narrow; what is wrong with it."""
    page = watched.open(path)
    wrong = [f"{name} moves"] if moves(page) else []
    page.screenshot(path=SCREENSHOTS / f"{name}-light.png", full_page=True)
    # Whatever a page hides at first is looked at too.
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    wrong += barriers(page)
    if name not in KINDS:
        return wrong
    page.emulate_media(color_scheme="dark")
    wrong += [f"dark: {text}" for text in barriers(page, "color-contrast")]
    page.screenshot(path=SCREENSHOTS / f"{name}-dark.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 340, "height": 800})
    if page.evaluate("document.documentElement.scrollWidth") > 340:
        wrong.append(f"{name} is wider than a narrow screen")
    page.screenshot(path=SCREENSHOTS / f"{name}-narrow.png", full_page=True)
    page.set_viewport_size({"width": 1200, "height": 900})
    return wrong


def test_no_page_has_barriers_or_complains(browser: Browser, url: str, documents: dict[str, str]) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    watched = Watched(browser, url, timezone_id="Asia/Kolkata")
    paths = {"log-in": "/login", "wrong-link": "/login?token=x"}
    wrong = [text for name, path in paths.items() for text in look_at(watched, name, path)]
    watched.log_in(ADMIN_KEY)
    paths = {"api": "/api/v1/", "secret": "/api/v1/webhooks/secret", "predict": "/api/v1/models/sums/predict"}
    for name, path in documents.items():
        paths |= {name: f"/api/v1/{name}?sort=-_id", f"{name}-one": path}
    paths |= {
        "rotate": documents["keys"] + "/rotate",
        "filtered": '/api/v1/results?where={"label":"b"}&sort=-score&count=true',
        "empty": '/api/v1/results?where={"label":"x"}',
        "not-there": "/api/v1/inputs/" + "0" * 24,
        "wrong-query": "/api/v1/inputs?where={&nothing=1",
    }
    for name, path in paths.items():
        wrong += look_at(watched, name, path)
    page = watched.open("/api/v1/jobs")
    page.get_by_text("Submit a job, or several").click()
    page.locator("#post-fields-model").fill("no model!")
    page.locator("#post-fields-where").fill("{")
    page.locator("#post-fields").get_by_role("button", name="Send").click()
    wrong += barriers(page)
    page.screenshot(path=SCREENSHOTS / "refused-form.png", full_page=True)
    assert wrong == []
    assert watched.complaints == []
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_times_are_the_readers_and_the_keyboard_reaches_everything(
    browser: Browser, url: str, documents: dict[str, str], api: Api
) -> None:
    watched = Watched(browser, url, timezone_id="Asia/Kolkata")
    watched.log_in(ADMIN_KEY)
    page = watched.open(documents["inputs"])
    created = api.get(documents["inputs"]).json["_created"]
    shown = page.locator("time").first.inner_text()
    expected = page.evaluate(f"new Date('{created}').toLocaleString('sv-SE', {{timeZone: 'Asia/Kolkata'}})")
    assert shown == f"{expected} +05:30"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    # Every link, button and field is passed, in order, and seen to be.
    reached = set()
    for _ in range(60):
        reached.add(page.evaluate("document.activeElement.outerHTML.slice(0, 200)"))
        assert page.evaluate("document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle !== 'none' || getComputedStyle(document.activeElement).boxShadow !== 'none'")  # fmt: skip # noqa: E501
        page.keyboard.press("Tab")
    summaries = page.locator("main summary:visible").count()
    assert sum("<summary" in text for text in reached) == summaries > 0
    # A form in it is opened and sent without a mouse.
    page.locator("summary", has_text="Change an input").focus()
    page.keyboard.press("Enter")
    page.locator("#patch-fields-tags").focus()
    page.keyboard.type("from the keyboard")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Saved.")
    assert api.get(documents["inputs"]).json["tags"] == ["from the keyboard"]
    assert watched.complaints == []


def test_forms_of_a_server_that_asks_for_no_key(browser: Browser, client: Any, tmp_path: Path) -> None:
    """What browsers say of where a form comes from is what keeps other sites out there."""
    settings = Settings(data_dir=tmp_path, admin_key=ADMIN_KEY, secret_key="x" * 40, auth="off", _env_file=None)
    app = create_app(settings, client)
    with served(app) as url:
        page = Watched(browser, url, java_script_enabled=False).open("/api/v1/inputs")
        page.get_by_text("Store a new input, or several").click()
        page.locator("#post-fields-data").fill("[1, 2]")
        page.locator("#post-fields").get_by_role("button", name="Send").click()
        expect(page.get_by_role("status")).to_contain_text("Done: input")
    app.extensions["service"].close()


def test_everything_works_without_scripts(browser: Browser, url: str, documents: dict[str, str], api: Api) -> None:
    watched = Watched(browser, url, java_script_enabled=False)
    watched.log_in(ADMIN_KEY)
    page = watched.open("/api/v1/")
    page.get_by_role("link", name="Inputs", exact=True).click()
    page.get_by_text("Store a new input, or several").click()
    page.locator("#post-fields-data").fill("[1, 2]")
    page.locator("#post-fields-tags").fill("one\ntwo")
    page.locator("#post-fields").get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_contain_text("Done: input")
    assert page.locator("time").first.inner_text().endswith(" +00:00")
    page.get_by_role("link", name="inputs", exact=True).click()
    page.get_by_text("Filter and sort").click()
    page.get_by_label("Field of condition 1").select_option("tags")
    page.get_by_label("Value of condition 1").fill("two")
    page.get_by_role("button", name="Show").click()
    assert page.locator("tbody tr").count() == 1
    page.locator("tbody a").first.click()
    page.locator("summary", has_text="Delete an input").click()
    page.get_by_role("button", name="Delete an input").click()
    expect(page.get_by_role("status")).to_contain_text("Done")
    assert api.get('inputs?where={"tags":"two"}').json["_items"] == []
    page.goto(url + documents["jobs"])
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status")).to_have_text("Saved.")
    assert api.get(documents["jobs"]).json["status"] == "canceled"
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    assert watched.complaints == []
