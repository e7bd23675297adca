"""What values a model is used to see: a guess from its newest stored inputs, for what is drawn and filled in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson import ObjectId
from flask import current_app

from api.auth.caller import Caller
from api.console.recent import MOST_MS, newest_results, parts_of
from api.console.try_fields import flattened
from api.present import present
from ml.service import Service

#: What a drawn picture may be scaled to: words, what paper is, what ink is.
RANGES: dict[str, tuple[str, float, float]] = {
    "1": ("0 to 1", 0, 1),
    "16": ("0 to 16", 0, 16),
    "255": ("0 to 255", 0, 255),
    "-1": ("-1 to 1", -1, 1),
}
OTHERWISE = "255"
#: Results that are looked through for some of the model's.
MOST_RESULTS = 50
MOST_INPUTS = 5


def newest_rows(caller: Caller, model: str, version: int) -> list[Any]:
    """Data of inputs that this version answered lately, the newest first, of those that this caller may see."""
    service: Service = current_app.extensions["service"]
    parts = parts_of(service, caller)
    if caller.is_admin:
        parts = [part for part in parts if part[0] == {"model": model, "version": version}]
    fields = {"model": True, "version": True, "input": True}
    found = newest_results(service, parts, MOST_RESULTS, fields)
    of_it = [one for one in found if (one.get("model"), one.get("version")) == (model, version)]
    ids = [one["input"] for one in of_it if isinstance(one.get("input"), ObjectId)]
    wanted = list(dict.fromkeys(ids))[:MOST_INPUTS]
    if not wanted:
        return []
    query = {"_id": {"$in": wanted}, **caller.scope("inputs")}
    there = {one["_id"]: one for one in service.db["inputs"].find(query, {"data": True}, max_time_ms=MOST_MS)}
    rows = [present("inputs", there[id_], short=True)["data"] for id_ in wanted if id_ in there]
    return [_plain(row) for row in rows]


def range_of(rows: Sequence[Any]) -> str:
    """The key of the range that these rows lie in; what pictures mostly have where nothing tells."""
    values = [value for row in rows for value in flattened(row) if isinstance(value, (int, float))]
    if not values:
        return OTHERWISE
    low, high = min(values), max(values)
    if low < 0:
        return "-1"
    return next(key for key, (_, _, most) in RANGES.items() if high <= most or key == OTHERWISE)


def _plain(row: Any) -> Any:
    if hasattr(row, "tolist"):
        return row.tolist()
    return row
