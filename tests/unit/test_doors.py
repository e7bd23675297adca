"""A streamed answer has its place among the requests for as long as it is streamed, and no longer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from api import doors, errors


@pytest.fixture
def http() -> FlaskClient:
    """An app with one place, in which `/stream` has three parts and `/fails` breaks off."""
    app = Flask("doors")
    errors.register(app)
    doors.guard(app, doors.FOR_HEALTH + 1)

    def parts(last: str) -> Iterator[str]:
        yield "1"
        yield "2"
        if last == "fails":
            raise RuntimeError("broken")
        yield "3"

    app.add_url_rule("/stream", "stream", lambda: Response(parts("3")))
    app.add_url_rule("/fails", "fails", lambda: Response(parts("fails")))
    app.add_url_rule("/plain", "plain", lambda: "plain")
    return app.test_client()


def test_it_is_held_while_the_answer_is_streamed(http: FlaskClient) -> None:
    held = http.get("/stream")
    assert http.get("/plain").status_code == 503
    held.close()
    assert http.get("/plain").status_code == 200
    held.close()
    first, second = http.get("/plain"), http.get("/plain")
    assert (first.status_code, second.status_code) == (200, 200)


def test_it_is_given_back_at_the_end_though_nobody_closes_the_answer(http: FlaskClient) -> None:
    held = http.get("/stream")
    assert http.get("/plain").status_code == 503
    assert held.data == b"123"
    assert http.get("/plain").status_code == 200


def test_it_is_given_back_where_the_stream_breaks(http: FlaskClient) -> None:
    held = http.get("/fails")
    with pytest.raises(RuntimeError):
        _ = held.data
    assert http.get("/plain").status_code == 200


def test_it_is_given_back_once(http: FlaskClient) -> None:
    held = http.get("/stream")
    assert held.data == b"123"
    held.close()
    other = http.get("/stream")
    assert http.get("/plain").status_code == 503, "the first one's place was given back twice"
    other.close()
