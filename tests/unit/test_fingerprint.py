"""What of a request counts when it comes again under the same Idempotency-Key."""

from __future__ import annotations

import io
from typing import Any

import pytest
from flask import Flask, g, request

from api.auth.caller import Caller
from api.fingerprint import fingerprint
from api.requests import AlmanacRequest


class App(Flask):
    request_class = AlmanacRequest


APP = App(__name__)
APP.config["MAX_CONTENT_LENGTH"] = 1 << 20


def of(path: str = "/p", caller: Caller | None = None, **kwargs: Any) -> bytes:
    with APP.test_request_context(path, method="POST", **kwargs):
        g.caller = caller or Caller("alice", "user")
        made = fingerprint()
        if request.files:  # whoever reads a file next has all of it
            assert request.files["f"].read() == b"12"
        return made


def file(content: bytes = b"12", name: str = "a") -> Any:
    return io.BytesIO(content), name


SAME = [
    ({"data": b"x"}, {"data": b"x", "headers": {"User-Agent": "other", "X-Request-ID": "1"}}),
    ({"data": b"{}", "content_type": "application/json"}, {"data": b"{}", "content_type": "Application/JSON; a=b"}),
    ({"data": {"a": "1", "f": file()}}, {"data": {"f": file(name="other"), "a": "1"}}),
    ({"data": {"a": ["1", "2"], "f": file()}}, {"data": {"a": ["1", "2"], "f": file()}}),
    ({"data": b"x"}, {"data": b"x", "headers": {"Accept": "application/json, */*", "Prefer": "wait=5"}}),
]
DIFFERENT = [
    ({"data": b"x"}, {"data": b"y"}),
    ({"data": b"{}"}, {"data": b"{ }"}),
    ({"path": "/p", "data": b"x"}, {"path": "/px", "data": b""}),
    ({"path": "/p?a=1", "data": b"x"}, {"path": "/p?a=2", "data": b"x"}),
    ({"data": {"ab": "c", "f": file()}}, {"data": {"a": "bc", "f": file()}}),
    ({"data": {"a": ["1", "2"], "f": file()}}, {"data": {"a": ["2", "1"], "f": file()}}),
    ({"data": {"a": "1", "f": file()}}, {"data": {"f": [file(), file(b"1")], "a": "1"}}),
    ({"data": b"x"}, {"data": b"x", "headers": {"Prefer": "respond-async;x=1, wait=5"}}),
    ({"data": b"x"}, {"data": b"x", "headers": {"Accept": "application/x-npy"}}),
    ({"data": b"x"}, {"data": b"x", "caller": Caller("alice", "admin")}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_request(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert of(**one) == of(**other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_request(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert of(**one) != of(**other)
