"""/docs in a real browser: Swagger UI shows what there is, under a policy that lets nothing in, and asks with a key."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from tests.conftest import ADMIN_KEY, Api
from tests.end_to_end.browser import NAMES, Browser, find_browser


@pytest.fixture
def url(mock_api: Api) -> Iterator[str]:
    """Of an app that is served over real HTTP."""
    server = make_server("127.0.0.1", 0, mock_api.http.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        assert os.environ.get("CI") != "true", f"CI needs one of {', '.join(NAMES)}"
        pytest.skip(f"no browser: {', '.join(NAMES)}")
    made = Browser(program, tmp_path / "browser")
    yield made
    made.close()


def test_the_page_shows_every_operation_and_asks_with_the_key_that_it_is_given(
    browser: Browser, url: str, mock_api: Api, tmp_path: Path
) -> None:
    document = mock_api.as_caller(None).get("/openapi.json").json
    operations = sum(
        method in item for item in document["paths"].values() for method in ("get", "post", "patch", "delete")
    )
    browser.open(f"{url}/docs/")
    browser.wait_for(f"document.querySelectorAll('.opblock').length == {operations}")
    assert browser.evaluate("location.pathname") == "/docs"

    def responses() -> str:
        return "document.querySelector('.live-responses-table tbody .response-col_status')?.textContent"

    browser.click("a[data-path='/api/v1/models'], #operations-models-listModels .opblock-summary-control")
    browser.click(".try-out__btn")
    browser.wait_for("document.querySelectorAll('.parameters input[type=text]').length >= 5")
    assert not browser.evaluate("document.querySelector('.parameters input[type=file]')?.outerHTML")
    browser.click(".execute")
    assert browser.wait_for(responses()).startswith("401")
    browser.click(".btn.authorize")
    browser.type(".auth-container input", ADMIN_KEY)
    browser.click(".auth-btn-wrapper .authorize")
    browser.click(".auth-btn-wrapper .btn-done")
    browser.click(".execute")
    browser.wait_for(f"{responses()}.startsWith('200')")
    browser.screenshot(tmp_path / "docs.png")
    # Chromium logs an answer of the 400s, as the one above.
    assert [text for text in browser.complaints if "401" not in text] == []
