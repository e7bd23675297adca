"""A client cancels or pauses a job that a real worker is running: once that is answered no further row appears."""

from __future__ import annotations

import random

import pytest

from tests.faults.checks import check_computed, check_ended
from tests.faults.cluster import ROWS, Cluster
from tests.faults.seeds import RUNS, seeds
from tests.waiting import until


@pytest.mark.parametrize("seed", seeds(max(2, RUNS // 2)))
def test_after_a_cancel_or_a_pause_is_answered_no_row_appears(seed: int, cluster: Cluster) -> None:
    rows = random.Random(seed).randrange(1, ROWS - 1000)
    wanted = "paused" if seed % 2 else "canceled"
    print(f"seed {seed}: {wanted} when {rows} rows were computed")
    tally = cluster.tally()
    job = cluster.submit()
    until(lambda: tally.rows().total() >= rows, 60, f"{rows} rows are computed")
    answer = cluster.wish(job, wanted)
    then = cluster.count(job)
    assert answer["status"] == wanted
    assert answer["progress"]["done"] == then < ROWS
    # The worker takes another job only when it is done with this one.
    cluster.run_probe()
    assert cluster.count(job) == then
    document = cluster.job(job)
    assert (document["status"], document["progress"]["done"]) == (wanted, then)
    if wanted == "paused":
        cluster.wish(job, "queued")
        cluster.wait_for_end(job)
        check_ended(cluster, job, cluster.inputs)
        check_computed(tally, cluster.inputs)
