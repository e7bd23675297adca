"""Worker, server or mongod is killed at a random point of a job of 5,000 rows: it ends, each row is there once.

TEST_RUNS says how often. Each run has a seed, which is in the test's name; TEST_SEED=<seed> TEST_RUNS=1 repeats it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from tests.faults.checks import check_computed, check_ended
from tests.faults.cluster import ENDED, ROWS, Cluster
from tests.faults.seeds import RUNS, seeds
from tests.faults.visitor import Visitor
from tests.faults.workers import is_dead
from tests.waiting import until


def kill(name: str) -> Callable[[Cluster], None]:
    """Kill the process of that name; the supervisor does the rest."""

    def do(cluster: Cluster) -> None:
        process = cluster.process(name)
        process.kill()
        until(lambda: is_dead(process), 30, f"{name} is dead")

    return do


def kill_http(cluster: Cluster) -> None:
    """Its end is the end of all, and the machine's service manager starts the whole again."""
    kill("http")(cluster)
    cluster.start_again()


def kill_supervisor(cluster: Cluster) -> None:
    """The others are told by the kernel to end."""
    cluster.supervisor.kill()
    cluster.start_again()


def kill_everything(cluster: Cluster) -> None:
    """As when the machine goes."""
    cluster.almanac.kill_all()
    cluster.start_again()


#: What is killed, and the answers that clients may get meanwhile (0: no connection).
KILLS: dict[str, tuple[Callable[[Cluster], None], set[int]]] = {
    "worker": (kill("worker"), {200, 201}),
    "mongod": (kill("mongod"), {200, 201, 503}),
    "http": (kill_http, {0, 200, 201, 503}),
    "supervisor": (kill_supervisor, {0, 200, 201, 503}),
    "everything": (kill_everything, {0, 200, 201, 503}),
}


@pytest.mark.parametrize("seed", seeds(RUNS))
def test_a_job_survives_a_kill(seed: int, cluster: Cluster) -> None:
    rng = random.Random(seed)
    name = list(KILLS)[seed % len(KILLS)]
    do, allowed = KILLS[name]
    rows, more = rng.randrange(ROWS), rng.random() * 0.1
    print(f"seed {seed}: {name} is killed {more:.3f} s after {rows} rows were computed; {cluster.data.parent} has logs")

    tally = cluster.tally()
    job = cluster.submit()
    with Visitor(cluster, job) as visitor:
        until(lambda: tally.rows().total() >= rows, 60, f"{rows} rows are computed")
        threading.Event().wait(more)
        do(cluster)
        cluster.wait_for_end(job)
        cluster.wait_until_whole()
        before = visitor.codes[201]
        until(lambda: visitor.codes[201] > before, 60, "HTTP stores again")
    check_ended(cluster, job, cluster.inputs)
    again = check_computed(tally, cluster.inputs)
    assert not visitor.wrong
    assert set(visitor.codes) <= allowed, visitor.codes
    assert cluster.db["inputs"].count_documents({"_id": {"$in": visitor.told}}) == len(visitor.told)
    if name not in ("mongod", "everything"):  # what is read may not be in the journal yet
        assert visitor.done == sorted(visitor.done)
    print(f"{again} rows were computed again; answers: {dict(visitor.codes)}")


@pytest.mark.parametrize("seed", seeds(max(1, RUNS // 10)))
def test_a_job_survives_a_worker_that_sleeps_for_longer_than_its_lease(seed: int, cluster: Cluster) -> None:
    rng = random.Random(seed)
    rows, more = rng.randrange(ROWS), rng.random() * 0.5
    print(f"seed {seed}: the worker stops after {rows} rows; it wakes {more:.3f} s after another took over")

    with cluster.another_worker() as other:
        own = cluster.process("worker")
        tally = cluster.tally()
        job = cluster.submit()
        until(lambda: tally.rows().total() >= rows, 60, f"{rows} rows are computed")
        sleeper = cluster.holder(job)
        if sleeper is None:  # it has ended just now
            return
        sleeper.suspend()
        rival = own if sleeper == other else other
        until(lambda: cluster.holder(job) == rival or cluster.job(job)["status"] in ENDED, 60, "another takes over")
        threading.Event().wait(more)
        sleeper.resume()
        cluster.wait_for_end(job)
        check_ended(cluster, job, cluster.inputs)
        # It takes the next job only when it is done with the old one.
        rival.suspend()
        try:
            cluster.run_probe()
        finally:
            rival.resume()
        check_ended(cluster, job, cluster.inputs)
        check_computed(tally, cluster.inputs)
