"""/docs in a real browser: Swagger UI shows what there is, under a policy that lets nothing in, and asks with a key."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.conftest import ADMIN_KEY, Api
from tests.end_to_end.browser import Watched, served


def test_the_page_shows_every_operation_and_asks_with_the_key_that_it_is_given(browser: Browser, mock_api: Api) -> None:
    document = mock_api.as_caller(None).get("/openapi.json").json
    operations = sum(
        method in item for item in document["paths"].values() for method in ("get", "post", "put", "patch", "delete")
    )
    with served(mock_api.http.application) as url:
        watched = Watched(browser, url)
        page = watched.open("/docs/")
        expect(page.locator(".opblock")).to_have_count(operations, timeout=30_000)
        assert page.url == f"{url}/docs"
        page.locator("#operations-models-listModels .opblock-summary-control").click()
        page.locator(".try-out__btn").click()
        assert page.locator(".parameters input[type=text]").count() >= 5
        assert page.locator(".parameters input[type=file]").count() == 0
        status = page.locator(".live-responses-table tbody .response-col_status").first
        page.locator(".execute").click()
        expect(status).to_contain_text("401")
        page.locator(".btn.authorize").first.click()
        page.locator("#auth-bearer-value").fill(ADMIN_KEY)
        page.locator(".auth-btn-wrapper .authorize").first.click()
        page.locator(".auth-btn-wrapper .btn-done").first.click()
        page.locator(".execute").click()
        expect(status).to_contain_text("200")
        assert watched.complaints == []
