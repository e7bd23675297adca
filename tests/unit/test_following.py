"""Following changes that never end."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from ml import following
from ml.following import Follower
from tests.waiting import until


class Restless:
    """A database in which something changes at every look."""

    def watch(self, *args: Any, **kwargs: Any) -> Any:
        return nullcontext(self)

    def try_next(self) -> Any:
        return {"operationType": "update"}


def test_what_changes_all_the_time_is_read_none_the_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.01)
    readings: list[int] = []
    follower = Follower(Restless(), lambda: readings.append(1))  # type: ignore[arg-type]
    follower.start()
    until(lambda: len(readings) >= 3, 5, "it was read again and again")
    follower.close()
