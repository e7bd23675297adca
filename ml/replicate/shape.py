"""The prediction object: what a job of one row says, with its input and its output, in Replicate's words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ml.jobs.states import ENDED
from ml.tensors import TensorIssues, from_stored, is_packed, outline

#: How a prediction can stand; the last four for good.
STATUSES = ("starting", "processing", "succeeded", "failed", "canceled", "aborted")

_TOO_LATE = "it had not ended by its deadline (Cancel-After)"


def prediction_object(
    job: Mapping[str, Any],
    id_: str,
    given: Mapping[str, Any] | None,
    result: Mapping[str, Any] | None,
    base: str,
    most: int | None = None,
) -> dict[str, Any]:
    """The object. Of tensors with more than `most` values it has the dtype and shape alone.

    `id_` is the prediction's, `given` its input as `input_of` gives it, `result` the row's document; None where there
    is none (any more). `base` is the URL of the server, without a slash at its end. Times are datetimes, tensors
    lists or arrays: what writes JSON knows them.
    """
    facts, status = facts_of(job), status_of(job)
    created, started, ended = (job.get(name) for name in ("_created", "started", "ended"))
    path = f"{base}/v1/predictions/{id_}"
    return {
        "id": id_,
        "model": facts.get("model", job.get("model")),
        "version": facts.get("version", str(job.get("version"))),
        "status": status,
        "input": {} if given is None else {**given, **facts.get("files", {})},
        "output": _output(result, most) if status == "succeeded" else None,
        "logs": "",
        "error": _error(job, status, result),
        "metrics": _metrics(created, started, ended),
        "created_at": created,
        "started_at": started,
        "completed_at": ended,
        "data_removed": given is None or (status == "succeeded" and result is None),
        "source": "api",
        "urls": {
            "get": path,
            "cancel": f"{path}/cancel",
            "stream": f"{path}/stream",
            "web": f"{base}/console/jobs/{job['_id']}",
        },
    }


def facts_of(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was written down with the job when it was created."""
    facts = job.get("prediction")
    return facts if isinstance(facts, Mapping) else {}


def status_of(job: Mapping[str, Any]) -> str:
    """Replicate's word for how a job of one row stands."""
    status, progress = job.get("status"), job.get("progress")
    if not isinstance(progress, Mapping):
        progress = {}
    if status == "canceled":
        return "aborted" if job.get("overdue") and not job.get("started") else "canceled"
    if status == "succeeded":  # the job, whatever became of its row
        return "succeeded" if progress.get("done") and not progress.get("failed") else "failed"
    if status in ENDED:
        return "failed"
    return "processing" if job.get("started") else "starting"


def input_of(data: Any, names: list[str], most: int | None = None) -> dict[str, Any]:
    """A stored row by input name; `names` are the model's, in its order."""
    if isinstance(data, Mapping) and not is_packed(data):
        return {name: _values(value, most) for name, value in data.items()}
    return {names[0] if names else "input": _values(data, most)}


def _output(result: Mapping[str, Any] | None, most: int | None) -> Any:
    """A sole output bare, several by name."""
    stored = (result or {}).get("output") or {}
    values = {name: _values(value, most) for name, value in stored.items()}
    return next(iter(values.values())) if len(values) == 1 else values or None


def _error(job: Mapping[str, Any], status: str, result: Mapping[str, Any] | None) -> str | None:
    if status == "failed":
        reason = (result or {}).get("error") or {}
        return str(reason.get("message") or job.get("error") or "the row has no result: its input was deleted")
    return _TOO_LATE if job.get("overdue") and status in ("aborted", "canceled") else None


def _metrics(created: Any, started: Any, ended: Any) -> dict[str, float]:
    """Seconds: from the start, and from the beginning; nothing before the end."""
    since = {"predict_time": started, "total_time": created}
    return {
        # One is by the server's clock, the other by the database's.
        name: max(0.0, (ended - start).total_seconds())
        for name, start in since.items()
        if isinstance(start, datetime) and isinstance(ended, datetime)
    }


def _values(value: Any, most: int | None) -> Any:
    """A stored tensor as JSON can have it: long ones outlined."""
    try:
        described = outline(value, most) if most is not None else None
        if described is not None:
            return described
        array = from_stored(value) if is_packed(value) else None
    except TensorIssues:  # another program's, and wrong
        return {"dtype": value["dtype"], "shape": value["shape"]} if is_packed(value) else value
    if array is None:
        return value
    return array.tolist() if array.dtype == object else array
