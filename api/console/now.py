"""What happens here now, as far as a caller may see: figures of the overview, each from few documents of an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import current_app

from api.auth.caller import Caller
from api.console.minutes import MOST, Minutes
from api.console.navigation import console_page
from api.console.recent import MOST_MS, newest_jobs, newest_results, parts_of
from ml.database.client import Document
from ml.database.documents import now
from ml.service import Service

#: Of how many of the newest results the times are.
MOST_RESULTS = 300
MOST_JOBS = 50
#: Jobs that are counted.
MOST_WAITING = 1000
MOST_ERRORS = 8

#: Of a document that says nothing of when.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = {"_created": True, "model": True, "version": True, "status": True, "error": True, "timing": True, "job": True}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that failed."""

    at: str
    what: str
    address: str
    why: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The figures."""

    #: Predictions in each of the last 60 minutes, the present one last; None: not counted yet.
    minutes: list[int | None]
    most_counted: int
    #: Milliseconds from arrival at the model to the answer, of so many newest predictions.
    p50: float | None
    p95: float | None
    of: int
    #: Jobs by status; as many as MOST_WAITING mean that there may be more.
    jobs: dict[str, int]
    #: Rows that wait in this process; None for those who are not to know.
    waiting: int | None
    building: int
    troubles: list[Trouble]
    #: Whether there is anything at all.
    models: int
    results: int


def overview_of(caller: Caller) -> Overview:
    """What there is to be seen by this caller. Raises PyMongoError."""
    service: Service = current_app.extensions["service"]
    parts = parts_of(service, caller)
    newest = list(newest_results(service, parts, MOST_RESULTS, TIMES))
    jobs = list(newest_jobs(service, caller, MOST_JOBS))
    times = sorted(_milliseconds(_dict(one.get("timing"))) for one in newest if "job" not in one and one.get("timing"))
    failed = service.db["models"].find({"state": "failed"}, {"build": False}, max_time_ms=MOST_MS)
    models = list(failed.sort("_id", -1).limit(MOST_ERRORS))
    return Overview(
        minutes=minutes_of(service).counts(parts, now()),
        most_counted=MOST,
        p50=percentile(times, 0.5),
        p95=percentile(times, 0.95),
        of=len(times),
        jobs={status: _jobs(service, caller, status) for status in ("queued", "running", "paused")},
        waiting=service.registry.queued() if caller.is_admin else None,
        building=service.db["models"].count_documents({"state": "loading"}, limit=100, maxTimeMS=MOST_MS),
        troubles=_troubles(newest, jobs, models),
        models=service.db["models"].count_documents({"state": "available"}, limit=1000, maxTimeMS=MOST_MS),
        results=len(newest),
    )


def minutes_of(service: Service) -> Minutes:
    """The counts of this process."""
    found: Minutes | None = current_app.extensions.get("minutes")
    if found is None:
        found = current_app.extensions["minutes"] = Minutes(service.db)
    return found


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest rank; None of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _milliseconds(timing: Mapping[str, Any]) -> float:
    return sum(float(timing[name]) for name in ("queue_ms", "compute_ms") if isinstance(timing.get(name), (int, float)))


def _dict(value: Any) -> Mapping[str, Any]:
    """A field as what it should be: other programs write documents, too."""
    return value if isinstance(value, Mapping) else {}


def _jobs(service: Service, caller: Caller, status: str) -> int:
    where = {"status": status, **caller.scope("jobs")}
    answer = service.db.command(
        "count", "jobs", query=where, hint="status_priority_created", limit=MOST_WAITING, maxTimeMS=MOST_MS
    )
    return int(answer["n"])


def _troubles(results: list[Document], jobs: list[Document], models: list[Document]) -> list[Trouble]:
    found = []
    for one in results:
        if one.get("status") == "failed":
            why = _dict(one.get("error")).get("message", "")
            found.append((one, f"Result of {one.get('model')}:{one.get('version')}", "results", why))
    for one in jobs:
        progress = _dict(one.get("progress"))
        if one.get("status") == "failed":
            found.append((one, f"Job over {one.get('model')}", "jobs", one.get("error") or ""))
        elif progress.get("failed"):
            rows = f"{_count(progress['failed'])} of {_count(progress.get('done', 0))} rows failed"
            found.append((one, f"Job over {one.get('model')}", "jobs", rows))
    for one in models:
        found.append((one, f"Build of {one.get('name')}:{one.get('version')}", "models", one.get("error") or ""))
    found.sort(key=lambda each: _at(each[0]), reverse=True)
    return [
        Trouble(_at(one), what, console_page(kind, one) or "", str(why)[:300])
        for one, what, kind, why in found[:MOST_ERRORS]
    ]


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _at(document: Document) -> str:
    times = [document.get("_updated"), document.get("_created"), getattr(document["_id"], "generation_time", None)]
    at = next((at for at in times if isinstance(at, datetime)), EARLIEST)
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
