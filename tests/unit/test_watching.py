"""One who waits for a job: what is news to them, and what is not."""

from __future__ import annotations

import threading

import pytest
from bson import ObjectId

from ml.jobs.watching import Watch

ID = ObjectId()


def job(status: str, done: int = 0) -> dict[str, object]:
    return {"_id": ID, "status": status, "progress": {"done": done}}


def test_a_reading_that_began_before_the_last_one_is_no_news() -> None:
    watch = Watch(ID)
    watch.tell(job("succeeded"), read=2)
    assert watch.wait(0)
    watch.tell(job("running"), read=1)
    assert not watch.wait(0)
    assert watch.job == job("succeeded")


def test_only_what_is_another_is_news() -> None:
    watch = Watch(ID)
    for read, (state, news) in enumerate(
        [(None, False), (job("queued"), True), (job("queued"), False), (job("running", 1), True), (None, True)]
    ):
        watch.tell(state, read)
        assert watch.wait(0) == news, state


@pytest.mark.parametrize(
    ("status", "over"),
    [
        ("queued", False),
        ("running", False),
        ("paused", False),
        ("succeeded", True),
        ("failed", True),
        ("canceled", True),
    ],
)
def test_what_is_over(status: str, over: bool) -> None:
    watch = Watch(ID)
    watch.tell(job(status), 0)
    assert watch.over == over
    watch.tell(None, 1)
    assert watch.over


def test_a_stop_ends_every_wait_at_once_and_for_good() -> None:
    watch = Watch(ID)
    watch.tell(job("running"), 0)
    waiting = threading.Thread(target=watch.wait_for_end, args=(60,))
    waiting.start()
    watch.stop()
    waiting.join(5)
    assert not waiting.is_alive()
    assert watch.over
    assert watch.wait(60)
    assert watch.wait(60)
