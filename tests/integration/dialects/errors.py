"""Errors as the dialects have them that say them in one text."""

from __future__ import annotations

from werkzeug.test import TestResponse


def problem(answer: TestResponse) -> str:
    assert answer.mimetype == "application/json"
    assert list(answer.json) == ["error"], answer.text
    text: str = answer.json["error"]
    assert text
    return text
