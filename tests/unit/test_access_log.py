"""The access log where a thread writes it: every line, whole and in order, and never more of them than it may keep."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from api import access_log
from api.access_log import AT_ONCE, Answered, log_answer, write_with
from cli.logs import Console, JsonLines


class Sink:
    """What was written; where it is shut, a write waits."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.asked = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def write(self, text: str) -> None:
        self.asked.set()
        self.open.wait()
        self.texts.append(text)

    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for text in self.texts for line in text.splitlines()]


@pytest.fixture(autouse=True)
def _all_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO, "almanac.access")
    yield
    assert access_log._written is None


def answer(path: str, number: int = 0) -> None:
    log_answer({"PATH_INFO": path, "REQUEST_METHOD": "GET"}, f"id-{number}", 200, None)


def test_every_line_is_written_whole_and_in_order() -> None:
    sink = Sink()
    close = write_with(JsonLines().answered, sink.write)
    for number in range(300):
        answer("/here", number)
    close()
    assert [line["request"] for line in sink.lines()] == [f"id-{number}" for number in range(300)]
    assert all(text.endswith("\n") and len(text) <= AT_ONCE for text in sink.texts)
    assert len(sink.texts) < 30
    assert sink.lines()[0].keys() == {"time", "level", "logger", "message", "request", "method", "path", "status"}
    assert sink.lines()[0]["message"] == "GET /here 200"


@pytest.mark.parametrize("at", [0.0, 1.5, 1_795_311_983.0, 1_795_311_983.9996, 1_795_311_984.0001, 1_795_311_983.0625])
def test_a_line_says_when(at: float) -> None:
    answered = Answered(at, logging.INFO, "id", "GET", "/", 200, None)
    when = datetime.fromisoformat(orjson.loads(JsonLines().answered(answered))["time"])
    assert when.tzinfo == UTC
    assert when == datetime.fromtimestamp(int(at * 1000) / 1000, UTC)


def test_it_is_written_without_being_closed() -> None:
    sink = Sink()
    close = write_with(JsonLines().answered, sink.write)
    answer("/here")
    assert sink.asked.wait(10)
    close()


def test_probes_are_not_logged() -> None:
    sink = Sink()
    close = write_with(JsonLines().answered, sink.write)
    answer("/health/live")
    close()
    assert not sink.texts


def test_a_log_that_nothing_takes_loses_lines_and_says_how_many(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access_log, "MOST_LINES", 10)
    sink = Sink()
    sink.open.clear()
    close = write_with(JsonLines().answered, sink.write)
    answer("/first")
    assert sink.asked.wait(10)
    for number in range(25):
        answer("/more", number)
    sink.open.set()
    close()
    assert len(sink.lines()) == 11
    assert "15 lines of the access log were lost" in caplog.text


@pytest.mark.parametrize("style", [JsonLines(), Console()])
def test_a_path_cannot_make_a_line_of_its_own(style: JsonLines | Console) -> None:
    line = style.answered(Answered(0.0, logging.INFO, "r", "GET", "/a\nforged\x1b[2J\udc80", 404, 1.0))
    assert line.isprintable()
    assert line.encode("utf-8")
    assert "forged" in line
