"""/docs over HTTP: its files and no others, to everyone, under a policy that lets nothing of another place in."""

from __future__ import annotations

import pytest

from tests.conftest import Api

FILES = {
    "/docs": "text/html; charset=utf-8",
    "/docs/almanac.css": "text/css; charset=utf-8",
    "/docs/almanac.js": "text/javascript; charset=utf-8",
    "/docs/favicon-32x32.png": "image/png",
    "/docs/swagger-ui.css": "text/css; charset=utf-8",
    "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
}


@pytest.mark.parametrize("path", FILES)
def test_a_file_has_its_type_and_the_headers_that_bind_it(mock_api: Api, path: str) -> None:
    answer = mock_api.as_caller(None).get(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, FILES[path])
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # It is asked for anew each time, and not sent again.
    assert answer.headers["Cache-Control"] == "no-cache"
    again = mock_api.as_caller(None).get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_the_page_is_at_one_url_and_names_only_what_is_served(mock_api: Api) -> None:
    stranger = mock_api.as_caller(None)
    moved = stranger.get("/docs/")
    assert (moved.status_code, moved.headers["Location"]) == (308, "../docs")
    page = stranger.get("/docs").text
    assert "<script>" not in page
    assert "//" not in page  # nothing of another host
    for path in FILES.keys() - {"/docs"}:
        assert f'"{path.removeprefix("/")}"' in page
