"""Two workers share jobs: one at a time for each job, both busy, no job kept waiting; one that dies stops no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bson import ObjectId
from bson.timestamp import Timestamp

from tests.faults.checks import IN_FLIGHT, check_ended
from tests.faults.cluster import ROWS, Cluster
from tests.waiting import until

JOBS = 10
JOB_ROWS = 1_750
#: A job lasts for almost two turns; a worker lets go of it after about a second where others wait.
SECONDS_PER_ROW = 0.001


def changes_since(cluster: Cluster, began: Timestamp, jobs: list[ObjectId]) -> Iterator[dict[str, Any]]:
    """The changes of these jobs, in their order, until all have ended."""
    left = set(jobs)
    with cluster.db["jobs"].watch([{"$match": {"operationType": "update"}}], start_at_operation_time=began) as stream:
        for change in stream:
            if change["documentKey"]["_id"] in left:
                yield change
                if change["updateDescription"]["updatedFields"].get("status") == "succeeded":
                    left.remove(change["documentKey"]["_id"])
            if not left:
                return


def check_held_by_one(cluster: Cluster, began: Timestamp, jobs: list[ObjectId]) -> dict[ObjectId, int]:
    """No job is claimed before whoever had it let go of it; how often each was claimed."""
    held: dict[ObjectId, str] = {}
    claims = dict.fromkeys(jobs, 0)
    for change in changes_since(cluster, began, jobs):
        job, update = change["documentKey"]["_id"], change["updateDescription"]
        if "fence" in update["updatedFields"]:
            assert job not in held, f"claimed while {held[job]} had it"
            held[job] = update["updatedFields"]["worker"]
            claims[job] += 1
        if "worker" in update["removedFields"]:
            del held[job]
    assert not held
    return claims


def test_ten_jobs_are_shared_by_two_workers(cluster: Cluster) -> None:
    artefact = cluster.add_model("slow", SECONDS_PER_ROW)
    inputs = [cluster.add_rows(f"slow {n}", JOB_ROWS, 100_000 + n * JOB_ROWS) for n in range(JOBS)]
    with cluster.another_worker() as other:
        own = cluster.process("worker")
        tally = cluster.tally(artefact)
        began: Timestamp = cluster.client.admin.command("hello")["operationTime"]
        jobs = [cluster.submit(f"slow {n}", "slow") for n in range(JOBS)]
        for job in jobs:
            cluster.wait_for_end(job)
        claims = check_held_by_one(cluster, began, jobs)
    for job, rows in zip(jobs, inputs, strict=True):
        check_ended(cluster, job, rows)
    times = tally.rows()
    assert times.total() == JOBS * JOB_ROWS
    assert set(times.values()) == {1}, "where nothing died nothing is computed twice"
    share = tally.processes()
    assert set(share) == {own.pid, other.pid}
    assert min(share.values()) > 0.3 * times.total(), share
    # Each job begins long before all are done.
    computed = 0
    first: dict[int, float] = {}
    for _, rows_of_call in tally.calls():
        first.setdefault((rows_of_call[0] - 100_000) // JOB_ROWS, computed / times.total())
        computed += len(rows_of_call)
    assert len(first) == JOBS
    assert max(first.values()) < 0.6, (first, claims)


def test_where_one_of_two_workers_dies_the_other_goes_on(cluster: Cluster) -> None:
    own = cluster.process("worker")
    with cluster.another_worker() as other:
        tally = cluster.tally()
        jobs = [cluster.submit() for _ in range(2)]
        until(lambda: {cluster.holder(job) for job in jobs} == {own, other}, 30, "each has one")
        (lost,) = (job for job in jobs if cluster.holder(job) == other)
        until(lambda: cluster.count(lost), 30, "it has begun")
        other.kill()
        for job in jobs:
            cluster.wait_for_end(job)
        assert own.is_running()
    for job in jobs:
        check_ended(cluster, job, cluster.inputs)
    assert 2 * ROWS <= tally.rows().total() <= 2 * ROWS + IN_FLIGHT
