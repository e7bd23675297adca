"""Secrets are taken out of text, and other text stays as it is."""

from __future__ import annotations

import logging
import time

import orjson
import pytest

from api.access_log import Answered
from cli.logs import Console, JsonLines
from ml.identity import redaction
from ml.identity.redaction import hide, holds_secret, redacted

KEY = "alm_Zx0fJ5pQ3mV8nR1tK6wY9bC2dE4gH7iL0oP5sU8vX1z"


@pytest.fixture(autouse=True)
def _nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_secrets", ())


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"GET /api/v1/{KEY} 404", "GET /api/v1/alm_Zx0f... 404"),
        (f"got the string '{KEY[:27]}...'", "got the string 'alm_Zx0f......'"),
        ("key alm_Zx0f of alice", "key alm_Zx0f of alice"),
        ("whsec_j2M3rwy8oeonb5TmTuW74Qgf6Q2y0LwyhkIQh7hR7eY=", "whsec_..."),
        ('"$argon2id$v=19$m=47104,t=2,p=1$AAAA$BBBB"', '"$argon2..."'),
        ("mongodb://almanac:pass%40word@db/almanac", "mongodb://almanac:...@db/almanac"),
        ("https://example.com/a:b@c and x@y", "https://example.com/a:b@c and x@y"),
        ("Authorization: Bearer abcdefghijk", "Authorization: Bearer ..."),
        ("a model of 3 inputs, alm_digits", "a model of 3 inputs, alm_digits"),
    ],
)
def test_what_looks_like_a_secret_goes(text: str, left: str) -> None:
    assert redacted(text) == left


def test_those_of_the_settings_go_also_where_they_are_cut() -> None:
    hide("correct-battery-staple")
    hide("mongodb://almanac:p%40ssword-of-mongo@db/almanac")
    hide("short")
    assert redacted("a correct-battery-staple b correct-battery-st'") == "a ... b ...'"
    assert redacted("p%40ssword-of-mongo p@ssword-of-mongo") == "... ..."
    assert redacted("a short correct-battery") == "a short correct-battery"


def test_what_a_client_sent_is_looked_at_as_bytes() -> None:
    hide("correct-battery-staple")
    assert holds_secret(b'{"a": "' + KEY.encode() + b'"}')
    assert holds_secret(b"correct-battery-staple")
    assert not holds_secret(b"alm_Zx0f, " + KEY[:-1].encode() + b", " + KEY.encode() + b"x")


def test_no_line_of_the_log_has_one() -> None:
    try:
        raise ValueError(KEY)
    except ValueError as error:
        problem = (type(error), error, error.__traceback__)
    record = logging.LogRecord("a", logging.INFO, "f", 1, "GET %s", (KEY,), problem)
    record.request, record.path = "r", f"/{KEY}"
    for formatter in (JsonLines(), Console()):
        line = formatter.format(record)
        assert KEY[8:20] not in line
        assert "alm_Zx0f..." in line
    assert orjson.loads(JsonLines().format(record))["path"] == "/alm_Zx0f..."


@pytest.mark.parametrize(("method", "path"), [("GET", f"/{KEY}"), (KEY, "/"), ("GET", "/plain")])
def test_nor_has_a_line_of_a_request(method: str, path: str) -> None:
    answered = Answered(time.time(), logging.INFO, "r", method, path, 200, 1.5)
    for style in (JsonLines(), Console()):
        line = style.answered(answered)
        assert KEY[8:20] not in line
        assert ("alm_Zx0f..." in line) == (KEY in method + path)
