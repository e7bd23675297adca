"""What a stored tensor looks like: a picture, a series, a table or a text, by its shape; and where it is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from bson import ObjectId
from flask import current_app

from api.auth.caller import current_caller
from api.console.figures import MOST_LINES, Bar, Lines, bars_of, lines_of, number
from api.console.images import enlargement, is_picture, value_range
from ml.database.client import READ_MS
from ml.service import Service
from ml.tensors import TensorIssues, from_stored, is_packed

Array = np.ndarray[Any, Any]

#: Values of a table, those of a row of it, and characters of a text.
MOST_IN_TABLE = 256
MOST_IN_ROW = 16
MOST_TEXT = 2000
#: More values than this in one dimension are a series.
MOST_LISTED = 10


@dataclass(slots=True)
class Looks:
    """One tensor as a page shows it; `name` is empty where there is no other."""

    name: str
    kind: Literal["picture", "series", "table", "bars", "texts", "long", "broken"]
    #: Its shape and type: `8 × 8, FP32`.
    about: str = ""
    width: int = 0
    height: int = 0
    #: What is black and what is white.
    low: str = ""
    high: str = ""
    lines: Lines | None = None
    rows: list[list[str]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    #: How many bars, or texts, are not shown.
    others: int = 0


def stored(resource: str, id_: ObjectId, name: str) -> Any:
    """A field of a document that the caller may see, as it is stored; None where it has none, or there is none."""
    service: Service = current_app.extensions["service"]
    spec = {"$and": [{"_id": id_}, current_caller().scope(resource)]}
    found = service.db[resource].find_one(spec, {name: True}, max_time_ms=READ_MS)
    return (found or {}).get(name)


def by_name(value: Any) -> Mapping[str, Any]:
    """The tensors of `data` or `output` by name; a bare one has an empty name."""
    return value if isinstance(value, Mapping) and not is_packed(value) else {"": value}


def looks_of(name: str, value: Any, classes: Sequence[str] = (), chosen: str | None = None) -> Looks:
    """How a stored tensor is shown; with `classes` of as many names as it has values as bars, `chosen` among them."""
    try:
        array = from_stored(value)
    except TensorIssues as error:
        return Looks(name, "broken", "; ".join(error.issues.values()))
    shape = " × ".join(map(str, array.shape)) or "one value"
    about = f"{shape}, {'text' if array.dtype == object else array.dtype.name}"
    if array.dtype == object:
        texts = [_text(item) for item in array.reshape(-1)[: MOST_LISTED * 10]]
        return Looks(name, "texts", about, texts=texts, others=array.size - len(texts))
    if classes and array.size == len(classes):
        bars = bars_of(array, classes, chosen)
        return Looks(name, "bars", about, bars=bars, others=array.size - len(bars))
    if is_picture(array.shape) and array.dtype != bool:
        by = enlargement(array.shape)
        low, high = value_range(array)
        size = (array.shape[1] * by, array.shape[0] * by)
        return Looks(name, "picture", about, *size, low=number(low), high=number(high))
    if array.ndim in (1, 2) and len(array) > MOST_LISTED and (array.ndim == 1 or array.shape[1] <= MOST_LINES):
        return Looks(name, "series", about, lines=lines_of(array))
    if array.size <= MOST_IN_TABLE and array.ndim <= 2 and array.shape[-1:] <= (MOST_IN_ROW,):
        rows = array.reshape(-1, array.shape[-1] if array.ndim else 1)
        return Looks(name, "table", about, rows=[[number(item) for item in row] for row in rows])
    return Looks(name, "long", about)


def _text(item: Any) -> str:
    text = item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
