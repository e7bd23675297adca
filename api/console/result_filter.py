"""Which results a page is about: its address as what is looked for, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args
from urllib.parse import urlencode

from bson import ObjectId
from werkzeug.datastructures import MultiDict

from api.console.job_form import time_of
from api.render import time
from ml.service import Further, Marked, Wanted

#: Parts of an address that people choose, and those by which a page leads to the next window.
CHOSEN = ("model", "version", "job", "status", "label", "marked", "truth", "since", "until", "order")
PLACE = ("before", "passed", "after")
STATES = ("succeeded", "failed")
MARKED: Mapping[str, str] = {
    "": "whatever was marked",
    "no": "not marked",
    "yes": "marked",
    "right": "marked, and right",
    "wrong": "marked, and wrong",
}
ORDERS: Mapping[str, str] = {"": "newest first", "least": "least certain first"}
#: The most that are passed over to come to a window: of one moment there are no more.
MOST_PASSED = 1_000_000


@dataclass(slots=True)
class Filter:
    """What was chosen, as it was written; what it means; and what of it is nothing that can be looked for."""

    values: dict[str, str]
    wanted: Wanted = field(default_factory=Wanted)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        return any(self.values.get(name) for name in CHOSEN)

    def query(self, **other: Any) -> str:
        """The query string for the same results, with what is given changed; None leaves a part out."""
        asked = {**self.values, **other}
        return urlencode({name: str(value) for name, value in asked.items() if value not in (None, "")})

    def from_start(self, **other: Any) -> str:
        """The query string for the first window."""
        return self.query(**dict.fromkeys(PLACE), **other)

    def beyond(self, further: Further) -> str:
        """The query string for the next window."""
        before = time(further.until) if further.until is not None else None
        return self.query(before=before, passed=further.passed or None, after=further.after)

    def words(self) -> Iterator[str]:
        """What was chosen, in words."""
        values = self.values
        if values.get("model"):
            yield f"{values['model']} version {values['version']}" if values.get("version") else values["model"]
        if values.get("job"):
            yield f"job {values['job']}"
        if values.get("status"):
            yield values["status"]
        if values.get("label"):
            yield f"called {values['label']}"
        if values.get("truth"):
            yield f"marked as {values['truth']}"
        if values.get("marked"):
            yield MARKED.get(values["marked"], "")
        if values.get("job") and not self.wanted.least:
            yield "in the order of its inputs"
        else:
            yield ORDERS.get(values.get("order", ""), "")


def filter_of(given: MultiDict[str, str]) -> Filter:
    """What an address asks for."""
    made = Filter({name: given[name].strip() for name in (*CHOSEN, *PLACE) if given.get(name, "").strip()})
    values = made.values
    wanted: dict[str, Any] = {}
    for name in ("model", "label", "truth"):
        wanted[name] = values.get(name)
    for name, choices in (("status", STATES), ("marked", get_args(Marked))):
        if values.get(name) and values[name] not in choices:
            made.errors[name] = f"expected one of {', '.join(choices)}, got {values[name][:40]}"
        else:
            wanted[name] = values.get(name)
    if "version" in values:
        wanted["version"] = _whole(made, "version", 2**31)
    if "passed" in values:
        wanted["passed"] = _whole(made, "passed", MOST_PASSED) or 0
    for name in ("job", "after"):
        if name in values:
            if ObjectId.is_valid(values[name]):
                wanted[name] = ObjectId(values[name])
            else:
                made.errors[name] = f"expected an id of 24 hexadecimal digits, got {values[name][:40]}"
    for name in ("since", "until", "before"):
        if name in values:
            found = time_of(values[name])
            if found is None:
                made.errors[name] = f"expected a time such as 2026-01-31T12:00, got {values[name][:40]}"
            # A window begins within what was asked for.
            wanted["until" if name == "before" else name] = found
    if values.get("order", "") not in ORDERS:
        made.errors["order"] = f"expected least, or nothing, got {values['order'][:40]}"
    if any("\0" in value for value in values.values()):
        made.errors["label"] = "a text cannot hold a zero character"
    if not made.errors:
        made.wanted = Wanted(**wanted, least=values.get("order") == "least")
    return made


def about(found: Filter, model: Any, version: Any) -> Filter:
    """The same filter; where nothing was asked for, the one for a model's version."""
    if found.active or not isinstance(model, str) or not isinstance(version, int):
        return found
    values = {**found.values, "model": model, "version": str(version)}
    return Filter(values, replace(found.wanted, model=model, version=version))


def _whole(made: Filter, name: str, most: int) -> int | None:
    text = made.values[name]
    if text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= most:
        return int(text)
    made.errors[name] = f"expected a whole number up to {most}, got {text[:40]}"
    return None
