"""A worker dies or sleeps at the worst points of a commit: what was committed stands, what was not never lands."""

from __future__ import annotations

import signal

import psutil
import pytest
from bson import ObjectId

from tests.faults.checks import check_computed, check_ended
from tests.faults.cluster import Cluster
from tests.faults.seeds import LONG
from tests.waiting import until

ROWS = 2_000
Inputs = dict[ObjectId, int]


@pytest.fixture(scope="module")
def inputs(_cluster: Cluster) -> Inputs:
    """Fewer than elsewhere, but more than are committed and under way when the signal comes."""
    return _cluster.add_rows("few", ROWS, 10_000)


def committed_rows(cluster: Cluster, inputs: Inputs, job: ObjectId) -> list[int]:
    """The rows that have results now, by their sums."""
    return [inputs[result["input"]] for result in cluster.db["results"].find({"job": job}, {"input": True})]


def test_dead_after_a_commit_and_before_anything_else(cluster: Cluster, inputs: Inputs) -> None:
    with cluster.own_worker_stopped() as rival, cluster.workers.hooked("committed", 3, "KILL") as victim:
        tally = cluster.tally()
        job = cluster.submit("few")
        assert victim.wait(30) == -signal.SIGKILL
        left, there = cluster.job(job), committed_rows(cluster, inputs, job)
        assert left["status"] == "running"
        assert 0 < left["progress"]["done"] == len(there) < ROWS
        rival.resume()
        cluster.wait_for_end(job)
    check_ended(cluster, job, inputs)
    check_computed(tally, inputs)
    times = tally.rows()
    assert {times[row] for row in there} == {1}, "what was committed is not computed again"


def test_dead_after_the_last_chunk_and_before_the_job_ends(cluster: Cluster, inputs: Inputs) -> None:
    with cluster.own_worker_stopped() as rival, cluster.workers.hooked("end", 1, "KILL") as victim:
        tally = cluster.tally()
        job = cluster.submit("few")
        assert victim.wait(30) == -signal.SIGKILL
        assert cluster.job(job)["status"] == "running"
        assert cluster.count(job) == ROWS
        rival.resume()
        cluster.wait_for_end(job)
    check_ended(cluster, job, inputs)
    check_computed(tally, inputs, again=0)


@pytest.mark.usefixtures("short_transactions")
@pytest.mark.parametrize("point", ["advance", "commit"])
def test_dead_within_a_commit(cluster: Cluster, inputs: Inputs, point: str) -> None:
    with cluster.own_worker_stopped() as rival, cluster.workers.hooked(point, 3, "KILL") as victim:
        tally = cluster.tally()
        job = cluster.submit("few")
        assert victim.wait(30) == -signal.SIGKILL
        there = committed_rows(cluster, inputs, job)
        assert cluster.job(job)["progress"]["done"] == len(there) > 0
        rival.resume()
        cluster.wait_for_end(job)
    check_ended(cluster, job, inputs)
    check_computed(tally, inputs)
    times = tally.rows()
    assert {times[row] for row in there} == {1}


@pytest.mark.usefixtures("short_transactions")
@pytest.mark.parametrize("point", ["begin", "advance", "commit"] if LONG else ["begin", "commit"])
def test_asleep_for_longer_than_the_lease(cluster: Cluster, inputs: Inputs, point: str) -> None:
    with cluster.own_worker_stopped() as rival, cluster.workers.hooked(point, 3, "STOP") as sleeper:
        tally = cluster.tally()
        job = cluster.submit("few")
        until(lambda: sleeper.status() == psutil.STATUS_STOPPED, 30, "the worker stops itself")
        fence, there = cluster.job(job)["fence"], cluster.count(job)
        assert cluster.job(job)["progress"]["done"] == there > 0
        rival.resume()
        until(lambda: cluster.holder(job) == rival, 30, "another takes over")
        assert cluster.job(job)["fence"] > fence
        sleeper.resume()
        cluster.wait_for_end(job)
        check_ended(cluster, job, inputs)
        check_computed(tally, inputs)
        # It takes the next job only when it is done with the old one.
        rival.suspend()
        cluster.run_probe()
        check_ended(cluster, job, inputs)
        check_computed(tally, inputs)
