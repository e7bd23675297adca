"""The jobs: how many wait and run, and whether anybody does them."""

from __future__ import annotations

from collections.abc import Iterator

from pymongo.database import Database

from ml.database.client import Document
from ml.doctor.findings import Finding, named, ok, warning
from ml.jobs.states import BY_CLIENT

#: Workers look for work four times a second, and take over what has lost its lease.
LATE_SECONDS = 60.0
_START = "start a worker on this database: python run.py worker, or a server without --no-jobs; it takes them over"


def examine(db: Database[Document]) -> Iterator[Finding]:
    """Workers show themselves by the leases that they hold, by the database's clock, and by nothing else."""
    jobs = db["jobs"]
    past = {"$subtract": ["$$NOW", int(LATE_SECONDS * 1000)]}
    # One that no worker holds for a moment waits since then.
    lease = {"$ifNull": ["$lease", {"$max": ["$since", "$not_before"]}, 0]}
    waits = {"$ifNull": [{"$max": ["$since", "$not_before"]}, "$_created", 0]}
    running = jobs.count_documents({"status": "running"})
    queued = jobs.count_documents({"status": "queued"})
    held = jobs.count_documents({"status": "running", "$expr": {"$gt": [lease, "$$NOW"]}})
    yield ok("jobs", f"{queued} queued, {running} running")
    lost = [job["_id"] for job in jobs.find({"status": "running", "$expr": {"$lt": [lease, past]}}, {"_id": 1})]
    if lost:
        yield warning(
            "jobs", f"{len(lost)} running ones lost their worker and nobody took them over: {named(lost)}", _START
        )
    # A worker does one at a time, so that others wait is no sign of anything while one is held.
    late = jobs.count_documents({"status": "queued", "$expr": {"$lt": [waits, past]}})
    if late and not held:
        yield warning("jobs", f"{late} wait for more than {LATE_SECONDS:.0f} s and no worker runs any", _START)
    mangled = [job["_id"] for job in jobs.find({"status": {"$nin": list(BY_CLIENT)}}, {"_id": 1})]
    if mangled:
        yield warning(
            "jobs",
            f"{len(mangled)} documents have no status that there is: {named(mangled)}",
            "delete them if no program of yours wants them there; no worker takes them",
        )
