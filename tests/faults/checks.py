"""What must be true of a job that has ended, whatever was done to the processes meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from bson import ObjectId

from ml.jobs.rows import CHUNK_ROWS
from tests.faults.cluster import Cluster
from tests.faults.tally import Tally

#: What may have been read, computed or written when a worker died, and is done again.
IN_FLIGHT = 3 * CHUNK_ROWS


def check_ended(cluster: Cluster, id_: ObjectId, inputs: Mapping[ObjectId, int]) -> None:
    """The job succeeded; every input has one result, with its own value; the progress is what there is."""
    job = cluster.job(id_)
    assert job["status"] == "succeeded", job
    found = list(cluster.db["results"].find({"job": id_}, {"input": True, "output": True, "status": True}))
    times = Counter(result["input"] for result in found)
    lost, strange = inputs.keys() - times.keys(), times.keys() - inputs.keys()
    twice = [input_ for input_, number in times.items() if number > 1]
    assert (len(lost), len(strange), len(twice)) == (0, 0, 0), "rows that are lost, strange, there twice"
    for result in found:
        assert result["status"] == "succeeded", result
        assert result["output"]["y"][0] == inputs[result["input"]], result
    progress = job["progress"]
    assert (progress["total"], progress["done"], progress["failed"]) == (len(inputs), len(inputs), 0)
    assert "worker" not in job
    assert "lease" not in job


def check_computed(tally: Tally, inputs: Mapping[ObjectId, int], again: int = IN_FLIGHT) -> int:
    """Every row was computed, and no more rows once more than `again`; how many were."""
    times = tally.rows()
    assert not set(inputs.values()) - times.keys()
    more = sum(times[number] - 1 for number in inputs.values())
    assert more <= again, f"{more} rows were computed again, by {dict(tally.processes())}"
    return more
