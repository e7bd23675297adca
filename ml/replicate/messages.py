"""What the webhook of a prediction is told: the prediction object, as it was when the event happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.database import Database

from ml.database.client import READ_MS, Document
from ml.replicate.predictions import PROTOCOL, Predictions
from ml.replicate.shape import facts_of

#: A tensor with more values is only described: a message is one document.
MOST_VALUES = 1 << 16


def is_prediction(job: Mapping[str, Any]) -> bool:
    """Whether a job's webhook is Replicate's."""
    return job.get("protocol") == PROTOCOL


def message(db: Database[Document], job: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """The object for the owner of `job`, which was then in `state`: its `status`, `progress`, `error` and times."""
    whole = db["jobs"].find_one({"_id": job["_id"]}, {"inputs": True}, max_time_ms=READ_MS) or {}
    earlier = {name: value for name, value in job.items() if name not in ("progress", "error", "started", "ended")}
    base = facts_of(job).get("base", "")
    then = {**earlier, **state, "inputs": whole.get("inputs")}
    return Predictions(db).shown([then], None, base, MOST_VALUES)[0]
