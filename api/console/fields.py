"""A JSON Schema as the fields of a form: what each looks like, what it holds now, and what was typed into it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from api.render import loads

Json = Mapping[str, Any]
Kind = Literal["text", "number", "choice", "several", "lines", "long", "json", "either", "password", "file", "files"]

#: In front of the names of fields, so that none is one of the form's own.
PREFIX = "f."
#: In front of what a field held when the form was made: what was not touched is not sent.
BEFORE = "was."
#: Of a field that may be text or something else: which it is.
AS = "as."
#: Text that may be longer has a large field.
LONG = 500


@dataclass(slots=True)
class Field:
    """One field of a form; `name` is the path of what it is for: `webhook.url`."""

    name: str
    schema: Json
    kind: Kind
    required: bool
    #: Text, or a list of what is chosen.
    value: Any = ""
    #: The text that it had when the form was made; None where there was nothing to change.
    before: str | None = None
    #: Of "either": "text" or "json".
    meant: str = "text"
    errors: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.name.replace("_", " ").replace(".", ": ")

    @property
    def id(self) -> str:
        return self.name.replace(".", "-")

    @property
    def choices(self) -> list[str]:
        """What can be chosen."""
        if self.kind == "several":
            return [str(choice) for choice in self.schema["items"]["enum"]]
        if "enum" in self.schema:
            return [str(choice) for choice in self.schema["enum"] if choice is not None]
        return ["true", "false"]

    @property
    def hint(self) -> str:
        """What is expected, in a few words."""
        described = str(self.schema.get("description", ""))
        more = {
            "lines": "One a line.",
            "json": "As JSON.",
            "number": _bounds(self.schema),
            "either": "Text is taken as it is; choose JSON for a number, true, false or a list.",
        }.get(self.kind, "")
        if self.schema.get("format") == "date-time":
            more = "As in 2026-01-01T12:00:00Z."
            described = described.replace("ISO 8601, in UTC, with milliseconds.", "").strip()
        return " ".join(part for part in (described, more) if part).replace("`", "")

    @property
    def state(self) -> str:
        """What it holds, as a hidden field tells it: text that is JSON is another value than the same text."""
        text = "\n".join(self.value) if isinstance(self.value, list) else str(self.value)
        return f"JSON {text}" if text and self.kind == "either" and self.meant == "json" else text

    @property
    def nullable(self) -> bool:
        kinds = self.schema.get("type")
        return isinstance(kinds, list) and "null" in kinds


def fields_of(schema: Json, resolved: Callable[[Json], Json], present: Json | None = None) -> list[Field]:
    """The fields for an object of this schema; with `present`, for a change of that document."""
    return list(_fields(resolved(schema), resolved, present, ""))


def _fields(
    schema: Json, resolved: Callable[[Json], Json], present: Json | None, base: str, optional: bool = False
) -> Iterator[Field]:
    required = () if optional else schema.get("required", ())
    for name, given in schema.get("properties", {}).items():
        inner = resolved(given)
        if "items" in inner:
            inner = {**inner, "items": resolved(inner["items"])}
        held = None if present is None else present.get(name)
        if "properties" in inner:
            below = held if isinstance(held, Mapping) else None if present is None else {}
            yield from _fields(inner, resolved, below, f"{base}{name}.", optional or name not in required)
            continue
        made = Field(f"{base}{name}", inner, kind_of(inner), name in required)
        if present is not None:
            made.value = shown(made, held)
            if made.kind == "either" and held is not None and not isinstance(held, str):
                made.meant = "json"
            made.before = made.state
        yield made


def kind_of(schema: Json) -> Kind:
    """The kind of field that a schema asks for."""
    kinds = schema.get("type")
    kinds = {kind for kind in ([kinds] if isinstance(kinds, str) else kinds or ()) if kind != "null"}
    items = schema.get("items", {})
    if schema.get("format") == "binary":
        return "file"
    if items.get("format") == "binary":
        return "files"
    if "enum" in schema or kinds == {"boolean"}:
        return "choice"
    if kinds == {"array"} and "enum" in items:
        return "several"
    if kinds == {"array"} and items.get("type") == "string":
        return "lines"
    if kinds and kinds <= {"integer", "number"}:
        return "number"
    if kinds == {"string"}:
        if schema.get("format") == "password":
            return "password"
        return "long" if schema.get("maxLength", 0) > LONG and "pattern" not in schema else "text"
    return "either" if "string" in kinds else "json"


def shown(made: Field, value: Any) -> Any:
    """What a field shows of a value."""
    if value is None:
        return [] if made.kind == "several" else ""
    if made.kind == "several":
        return [str(item) for item in value] if isinstance(value, list) else []
    if made.kind == "lines" and isinstance(value, list) and not any("\n" in str(item) for item in value):
        return "\n".join(map(str, value))
    if isinstance(value, str) and made.kind != "json":
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False, indent=2 if made.kind == "json" else None)


def typed(made: Sequence[Field], form: Any) -> None:
    """Put what was typed into the fields."""
    for one in made:
        given = form.getlist(PREFIX + one.name)
        if one.kind == "several":
            one.value = given
        elif one.kind not in ("file", "files"):
            one.value = _unix(given[0]) if given else ""
        one.meant = form.get(AS + one.name, one.meant)
        if BEFORE + one.name in form:
            one.before = _unix(form[BEFORE + one.name])


def document_of(made: Sequence[Field]) -> dict[str, Any]:
    """The JSON that the fields mean. What was left empty, or as it was, is not in it; a field that is no JSON notes it.

    What does not fit otherwise is sent as it is, and refused with the reason.
    """
    document: dict[str, Any] = {}
    for one in made:
        if one.state == (one.before or ""):
            continue
        try:
            value = _value(one)
        except ValueError as error:
            one.errors.append(f"not JSON: {error}")
            continue
        place = document
        *above, last = one.name.split(".")
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    return document


def _value(one: Field) -> Any:
    if not one.value:
        return [] if one.kind in ("lines", "several") and not one.nullable else None if one.nullable else ""
    if one.kind == "several":
        return one.value
    text = str(one.value)
    if one.kind == "lines":
        return [line for line in text.split("\n") if line.strip()]
    if one.kind == "json" or (one.kind == "either" and one.meant == "json"):
        return loads(text)
    if one.kind == "number":
        return _number(text)
    if one.kind == "choice" and "enum" not in one.schema:
        return {"true": True, "false": False}.get(text, text)
    return text


def _number(text: str) -> Any:
    try:
        found = loads(text)
    except ValueError:
        return text
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else text


def _bounds(schema: Json) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{_plain(low)} to {_plain(high)}."
    return f"From {_plain(low)}." if low is not None else ""


def _plain(number: float) -> str:
    return f"{int(number):,}" if number == int(number) else f"{number:f}".rstrip("0")


def _unix(text: str) -> str:
    """Browsers end the lines of a form's text as HTTP does."""
    return text.replace("\r\n", "\n")
