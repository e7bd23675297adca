"""How far a job is, in the words of people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def progress_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """How far a job is, for people: rows, percent, rows a second, time left. What is not known is None."""
    progress = job.get("progress")
    progress = progress if isinstance(progress, Mapping) else {}
    done, total = _count(progress.get("done")) or 0, _count(progress.get("total"))
    rate = progress.get("rows_per_second")
    running = job.get("status") == "running"
    rate = rate if isinstance(rate, (int, float)) and rate > 0 and (running or job.get("ended")) else None
    goes_on = running and not job.get("follow")
    left = (total - done) / rate if goes_on and rate and total is not None and total >= done else None
    percent = min(100 * done // total, 100) if total else 100 if job.get("status") == "succeeded" else None
    return {
        "done": done,
        "total": total,
        "failed": _count(progress.get("failed")) or 0,
        "rate": f"{rate:,.0f}" if rate else None,
        "left": span(left) if left is not None else None,
        "percent": percent,
    }


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def span(seconds: float) -> str:
    """A length of time: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
