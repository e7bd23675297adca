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
#: What people look for most, each with what it chooses; the rest of a filter stays.
VIEWS: Mapping[str, Mapping[str, str]] = {
    "Newest first": {"order": "", "marked": "", "status": ""},
    "Not marked, least certain first": {"order": "least", "marked": "no", "status": "", "truth": ""},
    "Marked, and wrong": {"marked": "wrong", "status": ""},
    "Failed": {"order": "", "marked": "", "status": "failed"},
}
#: The most that are passed over to come to a window: of one moment there are no more.
MOST_PASSED = 1_000_000


@dataclass(frozen=True, slots=True)
class View:
    """One of the VIEWS, as a link from a filter; `here`: it is the present one."""

    words: str
    query: str
    here: bool


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

    def views(self) -> list[View]:
        """What is looked for most, among the results that the rest of this filter is about."""
        found = []
        for words, chosen in VIEWS.items():
            by_input = "job" in self.values and not any(chosen.values())
            shown = "In the order of its inputs" if by_input else words
            found.append(View(shown, self.from_start(**chosen), self._is(chosen)))
        return found

    def words(self, *, order: bool = True) -> Iterator[str]:
        """What was chosen, in words."""
        return _words(self.values, order=order)

    def more_words(self) -> Iterator[str]:
        """What was chosen beyond the present view, in words."""
        said = {name for chosen in VIEWS.values() if self._is(chosen) for name in chosen}
        rest = {name: value for name, value in self.values.items() if name not in said}
        return _words(rest, order="order" not in said)

    @property
    def times(self) -> list[tuple[str, str]]:
        """From when to when, as the API writes times."""
        until = self.values.get("until")
        found = {"since": self.wanted.since, "until": time_of(until) if until else None}
        return [(word, time(at)) for word, at in found.items() if at is not None]

    def _is(self, chosen: Mapping[str, str]) -> bool:
        return all(self.values.get(name, "") == value for name, value in chosen.items())


def _words(values: Mapping[str, str], *, order: bool) -> Iterator[str]:
    if values.get("model"):
        yield f"{values['model']} version {values['version']}" if values.get("version") else values["model"]
    elif values.get("version"):
        yield f"version {values['version']}"
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
    if not order:
        return
    if values.get("job") and not values.get("order"):
        if values.get("status") != "failed":  # these are in none that means anything
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
