"""A job that follows while its worker is killed: every input that arrives has one result."""

from __future__ import annotations

from collections import Counter

import pytest
from bson import ObjectId

from tests.faults.cluster import Cluster
from tests.waiting import until

ARRIVALS = 1_000


@pytest.mark.usefixtures("short_transactions")
def test_a_thousand_arrivals_while_the_worker_is_killed_twice(cluster: Cluster) -> None:
    tag = f"arrives {ObjectId()}"
    job = cluster.submit(tag, follow=True)
    try:
        until(lambda: cluster.job(job).get("phase") == "tail", 60, "the job follows")
        inputs: dict[ObjectId, int] = {}
        for number in range(1, ARRIVALS + 1):
            if number % 350 == 0:  # twice; the second time when the next worker has come on with it
                until(lambda done=number - 349: cluster.holder(job) and cluster.count(job) >= done, 60, "it goes on")
                cluster.process("worker").kill()
            inputs |= cluster.add_rows(tag, 1, number)
        until(lambda: cluster.count(job) >= ARRIVALS, 60, "all have results")
    finally:
        print(cluster.job(job), cluster.printed())  # is shown where the test fails
        cluster.wish(job, "canceled")
    found = list(cluster.db["results"].find({"job": job}))
    assert Counter(result["input"] for result in found) == Counter(inputs.keys())
    assert all(result["output"]["y"][0] == inputs[result["input"]] for result in found)
    assert cluster.job(job)["progress"]["done"] == ARRIVALS
