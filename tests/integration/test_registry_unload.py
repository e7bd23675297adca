"""Versions that are not needed: the least recently used is unloaded, drained, and nobody is failed by it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bson import ObjectId

from ml.errors import ModelNotAvailable
from ml.executors.stub import StubExecutor
from ml.jobs import memory, rows, scorer
from ml.jobs.worker import Worker
from ml.live import LiveModel
from ml.service import Prediction, Service
from tests.integration.conftest import Gate
from tests.integration.rest import ROW
from tests.waiting import until


@pytest.fixture
def versions(serve: Callable[..., Any]) -> dict[int, dict[str, Any]]:
    """Five versions, each adding a hundred times its number; the fifth is kept as the newest."""
    return {n: serve(version=n, add=100.0 * n) for n in range(1, 6)}


@pytest.fixture
def started(replica: Callable[..., Service], versions: Any, gate: Gate) -> Callable[[int], Service]:
    """Makes a service that keeps so many versions beyond the newest."""

    def start(live_models: int) -> Service:
        service = replica(live_models)
        service.start()
        until(lambda: not service.registry.reasons_not_ready())
        assert gate.loads == [5]
        gate.loads.clear()
        return service

    return start


def predict(service: Service, version: int | None = None, meant: LiveModel | None = None, **asked: Any) -> int:
    """The version that answers; its output is checked to be its own."""
    request = Prediction(model="sums", version=version, instances=[ROW], store="none", **asked)
    answer = service.predict(request, meant)
    assert answer.outputs["y"].tolist() == [[100.0 * answer.version + 6, 100.0 * answer.version + 7]]
    return answer.version


def unloaded(live: LiveModel) -> bool:
    """Whether a model takes nothing any more and has answered what it had."""
    return f"batch-{live.version}" not in {thread.name for thread in threading.enumerate()}


def test_the_least_recently_used_goes(started: Callable[[int], Service], gate: Gate) -> None:
    service = started(2)
    for version in (1, 2, 1, 3):
        assert predict(service, version) == version
    assert gate.loads == [1, 2, 3]
    for version in (1, 3, 5):
        assert predict(service, version) == version
    assert gate.loads == [1, 2, 3]  # 2 went, which was used before 1
    for version in (2, 3, 2, 1):
        assert predict(service, version) == version
    assert gate.loads == [1, 2, 3, 2, 1]
    assert predict(service) == 5
    assert gate.loads == [1, 2, 3, 2, 1]  # the newest is not one of the two


def test_all_who_wait_at_once_are_answered_though_one_alone_may_stay(
    started: Callable[[int], Service], gate: Gate
) -> None:
    service = started(1)
    gate.shut(1, 2, 3)
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda v=version: answers.append(predict(service, v))) for version in (1, 2, 3) * 3
    ]
    for thread in threads:
        thread.start()
    until(lambda: sorted(gate.loads) == [1, 2, 3])
    gate.open()
    for thread in threads:
        thread.join(20)
    assert sorted(answers) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_what_was_queued_is_answered_by_a_version_that_is_unloaded(
    started: Callable[[int], Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = started(1)
    first = service.registry.resolve("sums", 1)
    running, go_on = threading.Event(), threading.Event()
    closed: list[float] = []
    run = StubExecutor.run

    def slow(self: Any, inputs: Any) -> Any:
        outputs = run(self, inputs)
        if np.any(outputs["y"][:, 0] == 106):  # a row of the first version
            running.set()
            assert go_on.wait(20)
        return outputs

    monkeypatch.setattr(StubExecutor, "run", slow)
    monkeypatch.setattr(StubExecutor, "close", lambda self: closed.append(1))
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(predict(service, 1, first))) for _ in range(3)]
    threads[0].start()
    assert running.wait(20)
    for thread in threads[1:]:
        thread.start()
    until(lambda: first.batcher.queued == 2, what="one runs, two wait")
    assert predict(service, 2) == 2
    with pytest.raises(ModelNotAvailable, match="being unloaded"):
        until(lambda: first.batcher.submit(object()))  # type: ignore[arg-type, func-returns-value]
    assert closed == answers == []
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert answers == [1, 1, 1]
    until(lambda: closed == [1])


def test_a_request_that_has_a_model_which_is_unloaded_meanwhile_is_answered(
    started: Callable[[int], Service], gate: Gate
) -> None:
    service = started(1)
    live = service.registry.resolve("sums", 1)
    assert predict(service, 2) == 2
    until(lambda: unloaded(live))
    assert predict(service, 1, live) == 1
    assert gate.loads == [1, 2, 1]


def test_a_request_that_has_a_model_which_is_retired_meanwhile(
    started: Callable[[int], Service], versions: Any
) -> None:
    service = started(8)
    live = service.registry.resolve("sums", 5)
    service.retire_model(versions[5])
    until(lambda: unloaded(live))
    with pytest.raises(ModelNotAvailable, match=r"^sums:5 is retired$"):
        predict(service, 5, live)
    assert predict(service, None, live) == 4  # it asked for the name, which means another now


def test_a_job_outlives_the_unloading_of_its_model(
    replica: Callable[..., Service], versions: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "FIRST_ROWS", 256)
    monkeypatch.setattr(rows, "CHUNK_ROWS", 256)
    monkeypatch.setattr(memory, "CHUNK_SECONDS", 60.0)
    service = replica(1)
    service.db["inputs"].insert_many([{"data": [1.0, 2.0, 3.0]} for _ in range(600)])
    job = service.jobs.prepare({"_id": ObjectId(), "model": "sums", "version": 1}, "admin", {})
    service.db["jobs"].insert_one(job)
    real, models = scorer.score, []

    def score(live: Any, chunk: Any, of: Any) -> Any:
        models.append(live)
        assert (predict(service, 2), predict(service, 3)) == (2, 3)
        assert not unloaded(live), "in use"
        return real(live, chunk, of)

    def between(self: Any, *args: Any) -> None:
        predict(service, 4)

    monkeypatch.setattr(scorer, "score", score)
    monkeypatch.setattr(scorer.Scorer, "_check", between)
    assert Worker(service.db, service.registry, threading.Event()).run_pending() == 1
    ended = service.db["jobs"].find_one({"_id": job["_id"]})
    assert ended is not None
    assert (ended["status"], ended["progress"]["failed"]) == ("succeeded", 0)
    assert service.db["results"].count_documents({"job": job["_id"], "output.y": [106.0, 107.0]}) == 600
    assert len(models) == len(set(map(id, models))) == 3, "it was unloaded between the chunks"


def test_a_job_of_a_model_that_is_retired_while_it_runs_says_so(
    replica: Callable[..., Service], versions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = replica()
    service.db["inputs"].insert_many([{"data": [1.0, 2.0, 3.0]} for _ in range(600)])
    job = service.jobs.prepare({"_id": ObjectId(), "model": "sums", "version": 1}, "admin", {})
    service.db["jobs"].insert_one(job)
    real = scorer.score

    def score(live: Any, chunk: Any, of: Any) -> Any:
        service.catalog.retire(service.db["models"].find_one({"version": 1}) or {"_id": 0, "_etag": ""})
        service.registry.refresh()
        until(lambda: unloaded(live))
        return real(live, chunk, of)

    monkeypatch.setattr(scorer, "score", score)
    Worker(service.db, service.registry, threading.Event()).run_pending()
    ended = service.db["jobs"].find_one({"_id": job["_id"]})
    assert ended is not None
    assert (ended["status"], ended["error"]) == ("failed", "sums:1 is retired")
