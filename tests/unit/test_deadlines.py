"""The thread that cancels overdue jobs goes on whatever it meets."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from ml.jobs import deadlines
from ml.jobs.deadlines import Deadlines


def test_what_nobody_foresaw_ends_one_look_and_not_the_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked_again, looks = threading.Event(), 0

    def look(_: Any) -> int:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise TypeError("a job that another program stored")
        looked_again.set()
        return 0

    monkeypatch.setattr(deadlines, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(deadlines, "end_overdue", look)
    caplog.set_level(logging.ERROR)
    watching = Deadlines(None)  # type: ignore[arg-type]
    watching.start()
    assert looked_again.wait(10)
    watching.close()
    assert "a job that another program stored" in caplog.text
