"""Jobs, run by a worker against a real mongod with the stub executor: every row once, whatever happens between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bson import Binary, ObjectId
from bson.binary import BinaryVectorDtype

from ml.database.blobs import Blobs
from ml.jobs import memory, rows, states
from ml.jobs.scorer import Lost, Scorer
from ml.jobs.scoring import result_ids
from ml.jobs.worker import Worker
from ml.service import Service
from tests.integration.jobs import (
    at_chunk,
    claim,
    expire_lease,
    insert_rows,
    lose_the_database,
    reload,
    results,
    submit,
    work,
)


@pytest.fixture(autouse=True)
def _chunks_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "FIRST_ROWS", 256)
    monkeypatch.setattr(rows, "CHUNK_ROWS", 256)
    monkeypatch.setattr(memory, "CHUNK_SECONDS", 60.0)


def test_every_row_gets_one_result_with_its_own_values(service: Service, client: Any, stub: Callable[..., Any]) -> None:
    stub(client, classes=["low", "high"])
    ids = insert_rows(service, 600, owner="alice", meta={"k": 1})
    job = submit(service)
    assert work(service) == 1

    ended = reload(service, job)
    assert ended["status"] == "succeeded"
    assert ended["progress"]["total"] == ended["progress"]["done"] == 600
    assert ended["progress"]["failed"] == 0
    assert ended["progress"]["rows_per_second"] > 0
    assert ended["started"] <= ended["ended"]
    by_input = {result["input"]: result for result in results(service, job)}
    assert set(by_input) == set(ids)
    for i, id_ in enumerate(ids):
        result = by_input[id_]
        assert result["output"] == {"y": [3.0 + i, 4.0 + i]}
        assert (result["status"], result["label"], result["score"]) == ("succeeded", "high", 4.0 + i)
        assert (result["model"], result["version"], result["owner"]) == ("sums", 1, "alice")
        assert result["meta"] == {"k": 1}
        assert result["_id"] == ObjectId(result_ids(job["_id"])(id_))


def test_inputs_of_other_programs_in_every_stored_form(service: Service, client: Any, stub: Callable[..., Any]) -> None:
    stub(client)
    values = np.array([1, 2, 3.5], "<f4")
    forms = {
        "array": [1, 2, 3.5],
        "packed": {"dtype": "FP32", "shape": [3], "data": Binary(values.tobytes())},
        "numpy's name": {"dtype": "float32", "shape": [3], "data": values.tobytes()},
        "FP64": {"dtype": "FP64", "shape": [3], "data": values.astype("<f8").tobytes()},
        "INT8": {"dtype": "INT8", "shape": [3], "data": np.array([1, 2, 3], "i1").tobytes()},
        "vector": {
            "dtype": "FP32",
            "shape": [3],
            "data": Binary.from_vector([1.0, 2.0, 3.5], BinaryVectorDtype.FLOAT32),
        },
        "by name": {"x": [1, 2, 3.5]},
    }
    ids = {name: service.db["inputs"].insert_one({"data": form}).inserted_id for name, form in forms.items()}
    job = submit(service)
    work(service)
    outputs = {result["input"]: result.get("output") for result in results(service, job)}
    for name, id_ in ids.items():
        assert outputs[id_] == {"y": [6.0, 7.0] if name == "INT8" else [6.5, 7.5]}, name


def test_rows_that_do_not_fit_are_failed_results_and_the_job_succeeds(
    service: Service, client: Any, stub: Callable[..., Any]
) -> None:
    stub(client, fail_on=13.0)
    good = insert_rows(service, 100)  # sums 3, 4, 5 ...: the row with 10.0 sums to 13
    bad: dict[str, Any] = {
        "short": [1.0, 2.0],
        "text": ["a", "b", "c"],
        "nan": [1.0, float("nan"), 2.0],
        "bytes": {"dtype": "FP32", "shape": [3], "data": b"123"},
        "no tensor": {"a": 1},
        "null": None,
    }
    ids = {name: service.db["inputs"].insert_one({"data": data}).inserted_id for name, data in bad.items()}
    job = submit(service)
    work(service)

    ended = reload(service, job)
    assert ended["status"] == "succeeded"
    assert (ended["progress"]["done"], ended["progress"]["failed"]) == (106, 7)
    by_input = {result["input"]: result for result in results(service, job)}
    for name, id_ in ids.items():
        assert by_input[id_]["status"] == "failed", name
        assert by_input[id_]["error"]["code"] == "invalid_input", name
        assert "output" not in by_input[id_]
    assert "expected a list of 3, got a list of 2" in by_input[ids["short"]]["error"]["message"]
    assert by_input[good[10]]["error"]["code"] == "execution_failed"
    # Only the one row that the model refuses failed; those that shared its call did not.
    assert sum(by_input[id_]["status"] == "succeeded" for id_ in good) == 99


@pytest.mark.parametrize("shape", [[3], [-1]])
def test_rows_that_are_all_cut_alike_are_failed_results(
    service: Service, client: Any, stub: Callable[..., Any], shape: list[int]
) -> None:
    stub(client)
    cut = {"dtype": "FP32", "shape": shape, "data": b"12345"}
    service.db["inputs"].insert_many([{"data": cut} for _ in range(3)])
    job = submit(service)
    work(service)
    ended = reload(service, job)
    assert (ended["status"], ended["progress"]["failed"]) == ("succeeded", 3)
    assert {result["error"]["code"] for result in results(service, job)} == {"invalid_input"}


def test_a_filter_leaves_out_what_predict_stored_unless_it_names_source(
    service: Service, client: Any, stub: Callable[..., Any]
) -> None:
    stub(client)
    insert_rows(service, 2, source="predict", tags=["a"])
    mine = insert_rows(service, 3, tags=["a"])
    first, second = submit(service, where={"tags": "a"}), submit(service, where={"source": "predict"})
    third = submit(service, inputs=mine[:2])
    assert work(service) == 3
    assert {result["input"] for result in results(service, first)} == set(mine)
    assert len(results(service, second)) == 2
    assert {result["input"] for result in results(service, third)} == set(mine[:2])


def test_higher_priority_first_then_the_older(service: Service, client: Any, stub: Callable[..., Any]) -> None:
    stub(client)
    jobs = [submit(service, priority=priority) for priority in (1, 9, 5, 9)]
    claimed = [claim(service)["_id"] for _ in range(4)]
    assert claimed == [jobs[i]["_id"] for i in (1, 3, 2, 0)]
    assert states.claim(service.db["jobs"], "w") is None


def test_a_taken_over_job_goes_on_from_its_checkpoint(
    service: Service, client: Any, stub: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(client)
    insert_rows(service, 600)
    job = submit(service)
    computed = at_chunk(monkeypatch, 3, lose_the_database)
    work(service)
    assert reload(service, job)["status"] == "running"
    assert len(results(service, job)) == 2 * rows.CHUNK_ROWS
    assert work(service) == 0, "its lease has not run out"
    expire_lease(service, job)
    assert work(service) == 1
    assert reload(service, job)["status"] == "succeeded"
    assert len(results(service, job)) == 600
    assert computed == [256, 256, 88, 88]


def test_a_stale_workers_chunk_cannot_land(service: Service, client: Any, stub: Callable[..., Any]) -> None:
    stub(client)
    insert_rows(service, 10)
    job = submit(service)
    stale = Scorer(service.db, service.registry, claim(service, "first"), threading.Event())
    expire_lease(service, job)
    takeover = claim(service, "second")
    with pytest.raises(Lost):
        stale.run()
    assert results(service, job) == []
    Scorer(service.db, service.registry, takeover, threading.Event()).run()
    ended = reload(service, job)
    assert (ended["status"], ended["progress"]["done"]) == ("succeeded", 10)
    with pytest.raises(Lost):  # and after the other has finished, neither
        stale.run()
    assert reload(service, job)["progress"] == ended["progress"]
    assert len(results(service, job)) == 10


@pytest.mark.parametrize("wish", ["paused", "canceled"])
def test_after_a_pause_or_cancel_no_row_appears(
    service: Service, client: Any, stub: Callable[..., Any], wish: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(client)
    insert_rows(service, 600)
    job = submit(service)
    there: list[int] = []

    def steer() -> None:
        service.jobs.update(reload(service, job), {"status": wish})
        there.append(len(results(service, job)))

    seen = at_chunk(monkeypatch, 2, steer)
    work(service)
    assert reload(service, job)["status"] == wish
    assert len(results(service, job)) == there[0] == reload(service, job)["progress"]["done"]
    service.jobs.update(reload(service, job), {"status": "queued"})
    work(service)
    ended = reload(service, job)
    assert (ended["status"], ended["progress"]["done"]) == ("succeeded", 600)
    assert len(results(service, job)) == 600
    assert sum(seen) <= 600 + 2 * 256


def test_an_ended_job_queued_again_runs_the_missing_and_the_failed_rows_only(
    service: Service, client: Any, stub: Callable[..., Any], tmp_path: Path
) -> None:
    stub(client, fail_on=13.0)
    ids = insert_rows(service, 50)
    job = submit(service)
    work(service)
    before = {result["input"]: result for result in results(service, job)}
    assert before[ids[10]]["status"] == "failed"
    service.db["results"].delete_one({"input": ids[0]})
    new = insert_rows(service, 1)

    # Another process, in which the model takes the value.
    healed = tmp_path / "healed"
    healed.mkdir()
    (healed / "stub.json").write_text("{}")
    artefact = Blobs(service.db).put_directory(healed, "stub.tar")
    service.db["models"].update_one({"name": "sums"}, {"$set": {"artefacts": {"stub": artefact}}})
    service.jobs.update(reload(service, job), {"status": "queued"})
    other = Service(service.db, tmp_path / "other")
    work(other)
    other.close()
    after = {result["input"]: result for result in results(service, job)}
    ended = reload(service, job)
    assert ended["status"] == "succeeded"
    assert set(after) == set(ids) | set(new)
    changed = {id_ for id_ in after if id_ not in before or after[id_]["_etag"] != before[id_]["_etag"]}
    assert changed == {ids[0], ids[10], new[0]}
    assert after[ids[10]]["status"] == "succeeded"
    assert (ended["progress"]["failed"], len(after)) == (0, 51)


def test_a_row_that_appears_behind_the_checkpoint_is_found_by_the_last_pass(
    service: Service, client: Any, stub: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(client)
    insert_rows(service, 300)
    late = ObjectId(b"\0" * 12)
    job = submit(service)
    at_chunk(monkeypatch, 2, lambda: service.db["inputs"].insert_one({"_id": late, "data": [1.0, 1.0, 1.0]}))
    work(service)
    assert reload(service, job)["progress"]["total"] == 301
    assert late in {result["input"] for result in results(service, job)}


def test_a_job_whose_worker_dies_again_and_again_fails_with_the_reason(
    service: Service, client: Any, stub: Callable[..., Any]
) -> None:
    stub(client)
    job = submit(service, max_attempts=2)
    claim(service)
    expire_lease(service, job)
    assert claim(service)["attempts"] == 1
    expire_lease(service, job)
    assert states.claim(service.db["jobs"], "w") is None
    ended = reload(service, job)
    assert ended["status"] == "failed"
    assert "died 2 times" in ended["error"]


def test_a_job_of_a_model_that_cannot_be_used_fails_with_the_reason(
    service: Service, client: Any, stub: Callable[..., Any]
) -> None:
    stub(client)
    job = submit(service)
    service.db["models"].update_one({"name": "sums"}, {"$set": {"state": "retired"}})
    work(service)
    ended = reload(service, job)
    assert ended["status"] == "failed"
    assert ended["error"] == "sums:1 is retired"


def test_a_worker_that_stops_gives_its_job_back_at_once(
    service: Service, client: Any, stub: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(client)
    insert_rows(service, 600)
    job = submit(service)
    stop = threading.Event()
    at_chunk(monkeypatch, 1, stop.set)
    Worker(service.db, service.registry, stop).run()
    waiting = reload(service, job)
    assert (waiting["status"], waiting["progress"]["done"]) == ("queued", 256)
    assert "worker" not in waiting
    assert work(service) == 1
    assert len(results(service, job)) == 600


def test_progress_does_not_change_the_entity_tag_and_status_does(
    service: Service, client: Any, stub: Callable[..., Any]
) -> None:
    stub(client)
    insert_rows(service, 10)
    queued = submit(service)
    running = claim(service)
    assert running["_etag"] != queued["_etag"]
    assert states.advance(service.db["jobs"], running, {}, {"done": 5})
    assert reload(service, queued)["_etag"] == running["_etag"]
    Scorer(service.db, service.registry, running, threading.Event()).run()
    assert reload(service, queued)["_etag"] != running["_etag"]


def test_two_workers_share_ten_jobs_each_run_by_one(
    service: Service, client: Any, stub: Callable[..., Any], tmp_path: Path
) -> None:
    stub(client)
    insert_rows(service, 300)
    jobs = [submit(service) for _ in range(10)]
    threads = [threading.Thread(target=work, args=(service,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for job in jobs:
        ended = reload(service, job)
        assert (ended["status"], ended["fence"]) == ("succeeded", 1)
        assert len(results(service, job)) == 300
