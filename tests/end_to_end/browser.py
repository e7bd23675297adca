"""A real Chromium for tests, headless, and pages of which is noted what they complain of and ask of others."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright
from werkzeug.serving import make_server

NAMES = ("chromium", "chromium-browser", "google-chrome")
_SHIFTS = """() => new Promise((resolve) => {
  let moved = 0;
  new PerformanceObserver((list) => { for (const entry of list.getEntries()) moved += entry.value; })
    .observe({type: "layout-shift", buffered: true});
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(moved)));
})"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Within it the machine's browser runs. Missing: a failure in CI, a skip with the reason elsewhere."""
    program = next((path for path in map(shutil.which, NAMES) if path), None)
    if program is None:
        assert os.environ.get("CI") != "true", f"CI needs one of {', '.join(NAMES)}"
        pytest.skip(f"no browser: {', '.join(NAMES)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Within it an app is served over real HTTP: at which URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Watched:
    """A page in a context of its own. `complaints`: errors of scripts, of its policy, and what it asks of others."""

    def __init__(self, browser: Browser, url: str, **context: Any) -> None:
        self.url = url
        self.complaints: list[str] = []
        self.context = browser.new_context(viewport={"width": 1200, "height": 900}, **context)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._on_message)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._on_request)

    def open(self, path: str) -> Page:
        answer = self.page.goto(self.url + path)
        assert answer is not None
        return self.page

    def log_in(self, key: str) -> Page:
        """Log in with a key; where that leads."""
        page = self.open("/login")
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Log in with the key").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
        return page

    def _on_message(self, message: Any) -> None:
        # Chromium reports an answer of the 400s as an error.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((f"{self.url}/", "data:")):
            self.complaints.append(f"asked of another: {request.url}")


def moves(page: Page) -> bool:
    """Whether anything on a page has moved since it was opened."""
    return bool(page.evaluate(_SHIFTS) > 0.001)


def barriers(page: Page, *rules: str) -> list[str]:
    """What axe finds serious, by all rules or by these."""
    options = {"runOnly": list(rules)} if rules else {}
    found = Axe().run(page, options={**options, "resultTypes": ["violations"]}).response["violations"]
    return [
        f"{page.url}: {one['id']} {[node['html'][:120] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
