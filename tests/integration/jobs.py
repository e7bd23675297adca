"""What the tests of jobs have in common: rows, jobs and workers over one database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect

from ml.jobs import scorer, states
from ml.jobs.worker import Worker
from ml.service import Service

Job = dict[str, Any]


def insert_rows(service: Service, count: int, **fields: Any) -> list[ObjectId]:
    """Inputs as another program stores them."""
    documents = [{"_id": ObjectId(), "data": [1.0, 2.0, float(i)], **fields} for i in range(count)]
    service.db["inputs"].insert_many(documents)
    return [document["_id"] for document in documents]


def submit(service: Service, **job: Any) -> Job:
    """A job over everything, unless it says what."""
    document = service.jobs.prepare({"_id": ObjectId(), "model": "sums", **job}, "admin", {})
    service.db["jobs"].insert_one(document)
    return document


def reload(service: Service, job: Job) -> Job:
    found = service.db["jobs"].find_one({"_id": job["_id"]})
    assert found is not None
    return found


def wish(service: Service, job: Job, **changes: Any) -> Job:
    """What a client's PATCH does."""
    return service.jobs.update(reload(service, job), changes)


def results(service: Service, job: Job) -> list[dict[str, Any]]:
    return list(service.db["results"].find({"job": job["_id"]}))


def done(service: Service, job: Job) -> int:
    return service.db["results"].count_documents({"job": job["_id"]})


def work(service: Service) -> int:
    """All that can be done now, in this thread; how many turns it took."""
    return Worker(service.db, service.registry, threading.Event()).run_pending()


def claim(service: Service, name: str = "w") -> Job:
    found = states.claim(service.db["jobs"], name)
    assert found is not None
    return found


def expire_lease(service: Service, job: Job) -> None:
    service.db["jobs"].update_one({"_id": job["_id"]}, {"$set": {"lease": datetime(2020, 1, 1, tzinfo=UTC)}})


def at_chunk(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], object]) -> list[int]:
    """Call `act` before the chunk of that number (from 1 on) is scored; the rows of every chunk, as they come."""
    real, sizes = scorer.score, []

    def score(live: Any, chunk: Any, of: Any) -> Any:
        sizes.append(len(chunk))
        if len(sizes) == number:
            act()
        return real(live, chunk, of)

    monkeypatch.setattr(scorer, "score", score)
    return sizes


def lose_the_database() -> None:
    """What the driver does where the connection breaks."""
    raise AutoReconnect("gone")


@contextmanager
def working(service: Service, lease_seconds: float = 15) -> Iterator[Worker]:
    """A worker in a thread, until the block ends."""
    stop = threading.Event()
    worker = Worker(service.db, service.registry, stop, lease_seconds)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()
