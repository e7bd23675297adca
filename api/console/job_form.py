"""The form that submits a job: what people choose and type, as the request that a program would send, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from werkzeug.datastructures import MultiDict

from api.render import loads, time
from api.resources import RESOURCES
from ml.database.filters import FilterError, check_filter

#: Fields of which there is one each; `meta` and `meta_is` come in pairs.
FIELDS = ("target", "tags", "made_for", "source", "since", "until", "where", "ids", "priority", "follow",
          "max_rows_per_second", "webhook")  # fmt: skip
PAIRS = 2
#: What a filter says of `source`, by what the form calls it.
SOURCES: Mapping[str, tuple[str, Any]] = {
    "": ("all but predict's", None),
    "rest": ("sent over REST", "rest"),
    "other": ("stored by other programs", {"$exists": False}),
    "predict": ("stored by predict", "predict"),
    "all": ("all of them", {"$nin": []}),
}
#: `digits` (whichever version the name means), `digits:2`, or `digits@stable`.
TARGET = re.compile(r"(?P<model>[^:@]+)(?::(?P<version>[0-9]{1,9})|@(?P<alias>.+))?\Z")
#: A field of the API to that of the form.
OF_ISSUE = {"model": "target", "version": "target", "alias": "target", "inputs": "ids", "webhook": "webhook"}


@dataclass(slots=True)
class JobForm:
    """The form as it was filled in, and what is wrong with it by field; the empty name is the whole form."""

    values: dict[str, str] = field(default_factory=dict)
    meta: list[tuple[str, str]] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str:
        return self.values.get(name, "")

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The conditions on meta, with empty ones to fill in."""
        return [*self.meta, *[("", "")] * (PAIRS - len(self.meta))]

    def note(self, message: str, issues: Mapping[str, str]) -> None:
        """Put each reason of a refusal at its field; what belongs to none, at the top."""
        for place, reason in issues.items():
            name = place.partition("[")[0].partition(".")[0]
            name = OF_ISSUE.get(name, name)
            name = name if name in FIELDS else ""
            text = reason if name else f"{place}: {reason}"
            self.errors[name] = f"{self.errors[name]}; {text}" if name in self.errors else text
        if not issues:
            self.errors[""] = message

    def where(self) -> dict[str, Any]:
        """The filter over inputs that is meant, as JSON; what cannot be read is noted in `errors`."""
        parts: list[dict[str, Any]] = [{"tags": tag} for tag in _words(self.get("tags"))]
        if self.get("made_for"):
            parts.append({"model": self.get("made_for")})
        source = SOURCES.get(self.get("source"), ("", None))[1]
        if source is not None:
            parts.append({"source": source})
        between = {"$gte": self._time("since"), "$lte": self._time("until")}
        if any(between.values()):
            parts.append({"_created": {operator: value for operator, value in between.items() if value}})
        parts += [{f"meta.{name}": _value(value)} for name, value in self.meta]
        if self.get("where"):
            try:
                raw = loads(self.get("where"))
                if not isinstance(raw, dict):
                    raise ValueError("expected an object")  # noqa: TRY004 # refused as what is no JSON
                if raw:
                    parts.append(raw)
            except ValueError as error:
                self.errors["where"] = f"not a filter as JSON: {error}"
        return together(parts)

    def checked_where(self) -> dict[str, Any] | None:
        """The filter as the database takes it; None where it is none, which is noted."""
        where = self.where()
        if self.errors:
            return None
        try:
            return check_filter(where, RESOURCES["inputs"].fields())
        except FilterError as error:
            self.errors["where"] = str(error)
            return None

    def ids(self) -> list[str]:
        """The ids that are listed."""
        return _words(self.get("ids"))

    def body(self) -> dict[str, Any]:
        """The body of the request; what cannot be read is noted in `errors`."""
        body: dict[str, Any] = {}
        target = TARGET.match(self.get("target"))
        if target is None:
            self.errors["target"] = "choose a model"
        else:
            body.update({name: value for name, value in target.groupdict().items() if value is not None})
            if "version" in body:
                body["version"] = int(body["version"])
        where = self.where()
        if self.ids():
            body["inputs"] = self.ids()
            if where:
                self.errors["ids"] = "either a list of ids or a filter: leave one of them empty"
        else:
            body["where"] = where
        for name in ("priority", "max_rows_per_second"):
            if self.get(name):
                body[name] = _number(self.get(name))
        if self.get("follow"):
            body["follow"] = True
        if self.get("webhook"):
            body["webhook"] = {"url": self.get("webhook")}
        return body

    def _time(self, name: str) -> str | None:
        text = self.get(name)
        found = time_of(text)
        if text and found is None:
            self.errors[name] = f"expected a time such as 2026-01-31T12:00, got {text[:40]}"
        return time(found) if found is not None else None


def job_form_of(given: MultiDict[str, str]) -> JobForm:
    """The form as it was sent, or as an address fills it in."""
    values = {name: given.get(name, "").replace("\r\n", "\n").strip() for name in FIELDS}
    pairs = zip(given.getlist("meta"), given.getlist("meta_is"), strict=False)
    return JobForm(values, [(name.strip(), value.strip()) for name, value in pairs if name.strip()][:PAIRS])


def time_of(text: str) -> datetime | None:
    """A time as a form sends it, in UTC where it does not say; None where it is none."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def local(text: str) -> str:
    """A time as a field of a form holds it, which has no zone: UTC; nothing where it is none."""
    found = time_of(text)
    return found.strftime("%Y-%m-%dT%H:%M:%S") if found is not None else ""


def together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One filter of several: flat where each field is named once."""
    names = [name for part in parts for name in part]
    if len(set(names)) == len(names):
        return {name: value for part in parts for name, value in part.items()}
    return {"$and": parts}


def _words(text: str) -> list[str]:
    """What stands between commas, spaces around it left out, or on lines of its own."""
    return [word.strip() for word in text.replace("\n", ",").split(",") if word.strip()]


def _value(text: str) -> Any:
    """A number, true, false or null as such; everything else is text, also what stands in quotation marks."""
    try:
        return loads(text)
    except ValueError:
        return text


def _number(text: str) -> Any:
    """A number; what is none is sent as it is, and refused with the reason."""
    found = _value(text)
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else text
