"""Two jobs over two workers, one of which is killed in the middle."""

from __future__ import annotations

import json
from typing import Any

from tests.stack.client import Client
from tests.stack.model import WIDTH
from tests.stack.stack import Stack
from tests.waiting import until

ROWS = 20_000
LIST = 1000
TAG = "stack"


def row(number: int) -> list[float]:
    return [float(number), *[1.0] * (WIDTH - 1)]


def store_rows(client: Client) -> None:
    for first in range(0, ROWS, LIST):
        numbers = range(first, first + LIST)
        client.post("inputs", json=[{"data": row(number), "tags": [TAG], "meta": {"n": number}} for number in numbers])


def run_and_kill(stack: Stack, client: Client, model: str) -> tuple[list[str], str]:
    """The ids of two jobs that ran although a worker died, and a line on how it went."""
    # Slow enough to be killed in the middle.
    asked = {"model": model, "where": {"tags": TAG}, "max_rows_per_second": ROWS // 10}
    jobs = [client.post("jobs", json=asked)["_id"] for _ in range(2)]

    def states() -> list[dict[str, Any]]:
        return [client.get(f"jobs/{job}") for job in jobs]

    def both_run() -> list[dict[str, Any]]:
        found = states()
        ended = [job for job in found if job["status"] not in ("queued", "running")]
        assert not ended, f"too early to be killed: {ended}"
        return found if all(job["progress"]["done"] > 0 for job in found) else []

    running = until(both_run, 60, "both jobs run")
    # A worker's name begins with its container's, which is the beginning of the container's id.
    hosts = [job["worker"].partition(":")[0] for job in running]
    assert len(set(hosts)) == 2, f"one worker has both jobs: {hosts}"
    victim = next(container for container in stack.containers("worker") if container.startswith(hosts[0]))
    stack.run("docker", "kill", victim)
    killed = client.get(f"jobs/{jobs[0]}")
    assert killed["progress"]["done"] < ROWS, "the job was done before its worker was killed"

    def all_ended() -> bool:
        return all(job["status"] not in ("queued", "running") for job in states())

    until(all_ended, 300, "both jobs have ended")
    check(client, jobs)
    taken = client.get(f"jobs/{jobs[0]}")
    stack.run("docker", "start", victim)
    return jobs, f"killed at row {killed['progress']['done']:,} of {ROWS:,}; {taken['progress']['done']:,} in the end"


def check(client: Client, jobs: list[str]) -> None:
    """Every row of every job has exactly one result, and the right one."""
    for job in jobs:
        ended = client.get(f"jobs/{job}")
        assert ended["status"] == "succeeded", ended
        assert ended["progress"]["done"] == ended["progress"]["total"] == ROWS, ended
        lines = client.lines("results", where=json.dumps({"job": job}), projection=json.dumps({"output": 1, "meta": 1}))
        sums = {(found := json.loads(line))["meta"]["n"]: found["output"]["sum"] for line in lines}
        assert len(lines) == len(sums) == ROWS, f"{len(lines)} results of {len(sums)} rows"
        wrong = [number for number, value in sums.items() if value != [number + WIDTH - 1]]
        assert not wrong, f"rows {wrong[:5]} have wrong results"
