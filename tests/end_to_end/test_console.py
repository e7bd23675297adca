"""The console in a real browser, against a real server: a model is uploaded, built and tried; nothing is in the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, expect

from ml.database.blobs import Blobs
from ml.database.client import database_of
from tests.conftest import ADMIN_KEY
from tests.end_to_end.almanac import Almanac
from tests.end_to_end.browser import Watched, barriers
from tests.integration.rest import image
from tests.screenshots.strokes import DIGITS, draw

BUILT_MS = 120_000
#: What moved by itself since the page was opened: not what somebody just clicked for, nor what a window's size does.
SHIFTS = """() => new Promise((resolve) => {
  const moved = [];
  new PerformanceObserver((list) => { if (!window.lookedAt) moved.push(...list.getEntries()); })
    .observe({type: "layout-shift", buffered: true});
  requestAnimationFrame(() => requestAnimationFrame(() => {
    window.lookedAt = true;
    resolve(moved.filter((one) => !one.hadRecentInput && one.value > 0.001)
      .flatMap((one) => one.sources.map((source) => source.node?.outerHTML?.slice(0, 100) ?? "?")).join(" | "));
  }));
})"""
#: What is wider than the window.
WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? "" : [...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth && !one.parentElement.closest(".table-responsive"))
  .map((one) => one.outerHTML.slice(0, 100)).slice(-4).join(" | ") || "something"
"""


def wrong_with(page: Page) -> list[str]:
    """What is wrong with a page as it is now: in light and dark, wide and narrow, with all that it hides at first."""
    moved = page.evaluate(SHIFTS)
    wrong = [f"{page.url} moves: {moved}"] if moved else []
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    wrong += barriers(page)
    page.emulate_media(color_scheme="dark")
    wrong += [f"dark: {text}" for text in barriers(page, "color-contrast")]
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 340, "height": 800})
    wide = page.evaluate(WIDE)
    wrong += [f"{page.url} is wider than a narrow screen: {wide}"] if wide else []
    page.set_viewport_size({"width": 1200, "height": 900})
    return wrong


def test_from_a_file_to_a_digit(browser: Browser, digits: Almanac, tmp_path: Path) -> None:
    with digits.database() as client:
        db = database_of(client)
        model = db["models"].find_one({"name": "digits", "version": 1})
        assert model is not None
        Blobs(db).fetch(model["file"], tmp_path / "drawn.keras")
    watched = Watched(browser, digits.url)
    page = watched.log_in(digits.headers["Authorization"].removeprefix("Bearer "))
    wrong = wrong_with(page)
    page.get_by_role("link", name="Models", exact=True).click()
    page.get_by_text("Upload a model, or a new version of one").click()
    page.get_by_label("File").set_input_files(tmp_path / "drawn.keras")
    page.get_by_label("Name").fill("no name!")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("name: expected 1 to 64 of A-Z")
    expect(page.get_by_label("Name")).to_be_focused()
    wrong += wrong_with(page)
    page.get_by_label("Name").fill("drawn")
    page.get_by_label("Classes").fill(", ".join(map(str, range(10))))
    page.get_by_label("Aliases").fill("stable")
    page.get_by_role("button", name="Upload").click()
    # Its log is followed until it is live, without a reload by hand.
    page.wait_for_url("**/console/models/drawn?version=1")
    expect(page.locator("#log")).to_contain_text("keras", ignore_case=True, timeout=BUILT_MS)
    wrong += wrong_with(page)
    expect(page.locator("main").get_by_role("link", name="Try it")).to_be_visible(timeout=BUILT_MS)
    expect(page.get_by_role("row", name="chosen")).to_contain_text("equal on")
    wrong += wrong_with(page)
    page.locator("main").get_by_role("link", name="Try it").click()
    wrong += wrong_with(page)
    # Nothing was stored for it yet, so it cannot know: people can.
    page.get_by_label("Values").select_option("0 to 16")
    right = 0
    for digit in DIGITS:
        draw(page, digit)
        page.get_by_role("button", name="Predict").click()
        expect(page.locator("#answer")).to_have_attribute("data-asked", str(int(digit) + 1))
        right += page.locator("#label").inner_text().split()[0] == digit
    assert right >= 8, right
    wrong += wrong_with(page)
    page.get_by_role("link", name="The stored result").click()
    result = page.url.rpartition("/")[2]
    stored = digits.get(f"results/{result}").json()
    assert (stored["model"], stored["protocol"], stored["status"]) == ("drawn", "almanac", "succeeded")
    # By now it knows, and what answers is one click away from being another.
    page.goto(f"{digits.url}/console/models/drawn/try")
    expect(page.get_by_label("Values")).to_have_value("16")
    assert wrong == []
    assert watched.complaints == []
    watched.context.close()


def test_other_ways_of_filling_in(
    browser: Browser, url: str, client: Any, stub: Callable[..., Any], tmp_path: Path
) -> None:
    stub(client, name="picture", inputs=[{"name": "image", "dtype": "FP32", "shape": [4, 4, 3]}])
    stub(client, name="sums", version=1, aliases={"stable": 1}, classes=["a", "b"])
    stub(client, name="sums", version=2, aliases={"stable": 1})
    stub(client, name="flat", inputs=[{"name": "pixels", "dtype": "UINT8", "shape": [196]}])
    stub(client, name="broken", state="failed")
    watched = Watched(browser, url)
    page = watched.log_in(ADMIN_KEY)
    wrong = []
    for path in ("/console/models", "/console/models/broken", "/console/try", "/console/models/none"):
        wrong += wrong_with(watched.open(path))
    # A table, by keyboard alone.
    watched.open("/console/models/sums/try")
    page.get_by_label("x[0]").focus()
    for value in ("1", "2", "x"):
        page.keyboard.type(value)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("x[2]: expected a number, got x")
    page.get_by_label("x[2]").fill("3")
    page.keyboard.press("Enter")
    expect(page.locator("#label")).to_contain_text("b")
    wrong += wrong_with(page)
    # An image that is only sent.
    file = tmp_path / "photo.png"
    file.write_bytes(image(np.full((8, 8, 3), 100, "uint8")))
    watched.open("/console/models/picture/try")
    page.get_by_label("Image", exact=True).set_input_files(file)
    expect(page.get_by_role("img", name="The image that was chosen")).to_be_visible()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#answer")).to_contain_text("4,800")
    wrong += wrong_with(page)
    # An image that is drawn from, dark on light as on paper; then the keyboard draws.
    file.write_bytes(image(np.uint8([[255] * 6 + [0] * 2 + [255] * 6] * 14)))
    watched.open("/console/models/flat/try")
    page.get_by_label("Or an image").set_input_files(file)
    expect(page.get_by_label("Dark on light")).to_be_checked()
    expect(page.locator("[name='v.0']")).to_have_value(str([*[0] * 6, 255, 255, *[0] * 6] * 14).replace(" ", ""))
    page.get_by_label("Dark on light").uncheck()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("[name='v.0']")).to_have_value("")
    page.locator("canvas.paper").focus()
    for key in ("ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    page.keyboard.down(" ")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.up(" ")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("link", name="The stored result")).to_be_visible()
    page.keyboard.press("Tab")
    wrong += wrong_with(page)
    # An alias is moved, and what it means has moved.
    watched.open("/console/models/sums")
    page.get_by_role("button", name="Move stable to version 2").click()
    expect(page.get_by_role("status")).to_have_text("stable is sums:2 now.")
    wrong += wrong_with(page)
    assert wrong == []
    assert watched.complaints == []
    watched.context.close()
