"""A job that follows while its worker is killed: every input that arrives has one result."""

from __future__ import annotations

from collections import Counter

from bson import ObjectId

from tests.faults.cluster import Cluster
from tests.waiting import until

ARRIVALS = 1_000


def test_a_thousand_arrivals_while_the_worker_is_killed_twice(cluster: Cluster) -> None:
    tag = f"arrives {ObjectId()}"
    job = cluster.submit(tag, follow=True)
    try:
        until(lambda: cluster.job(job).get("phase") == "tail", 60, "the job follows")
        inputs: dict[ObjectId, int] = {}
        for number in range(1, ARRIVALS + 1):
            if number % 350 == 0:  # twice; both times with rows before it that may be under way
                until(lambda: cluster.holder(job) is not None and cluster.count(job) > 0, 60, "somebody scores")
                cluster.process("worker").kill()
            inputs |= cluster.add_rows(tag, 1, number)
        try:
            until(lambda: cluster.count(job) >= ARRIVALS, 40, "all have results")
        except AssertionError:
            print(cluster.count(job), cluster.job(job), cluster.printed())
            raise
        assert cluster.job(job)["attempts"] <= 1
    finally:
        print("AT END", cluster.job(job))
    found = list(cluster.db["results"].find({"job": job}))
    assert Counter(result["input"] for result in found) == Counter(inputs.keys())
    assert all(result["output"]["y"][0] == inputs[result["input"]] for result in found)
    assert cluster.job(job)["progress"]["done"] == ARRIVALS
