"""The filter builder: rows of field, operator and value, to `where` and `sort` and back; it works without a script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from api.render import dumps, loads
from api.resources.base import Resource

#: MongoDB's operators by what the builder calls them, in its order.
OPERATORS: Mapping[str, str] = {
    "$eq": "is",
    "$ne": "is not",
    "$lt": "is less than",
    "$lte": "is at most",
    "$gt": "is more than",
    "$gte": "is at least",
    "$in": "is one of (JSON list)",
    "$regex": "begins with",
    "$exists": "is there (true or false)",
}
#: Rows that are empty, and rows at all.
EMPTY_ROWS = 2
MOST_ROWS = 12
SPECIAL = ".^$*+?{}[]\\|()/-"


@dataclass(frozen=True, slots=True)
class Row:
    """One condition as the builder shows it."""

    field: str = ""
    operator: str = "$eq"
    value: str = ""


@dataclass(frozen=True, slots=True)
class Filters:
    """The builder for a list as it was asked for."""

    rows: list[Row]
    #: What the rows cannot show, or whatever was asked.
    where: str
    fields: list[str]
    sort: str
    descending: bool
    max_results: str
    count: bool
    #: Whether anything is asked for.
    active: bool

    @property
    def operators(self) -> Mapping[str, str]:
        return OPERATORS


def filters_of(resource: Resource, args: Mapping[str, str]) -> Filters:
    """The builder that shows what a query string asks."""
    where = args.get("where", "")
    rows = _rows(where)
    sort = args.get("sort", "")
    simple = sort.removeprefix("-") if "," not in sort and not sort.startswith("[") else ""
    return Filters(
        rows=[*(rows or []), *[Row()] * EMPTY_ROWS],
        where="" if rows is not None else where,
        fields=sorted(resource.fields(), key=lambda name: (name.startswith("_") and name != "_id", name)),
        sort=simple,
        descending=sort.startswith("-"),
        max_results=args.get("max_results", ""),
        count=args.get("count") in ("true", "1"),
        active=bool(where),
    )


def query_of(resource: Resource, form: Any) -> str:
    """The query string that a filled-in builder asks for, from the parts of its own: `field`, `operator`, `value`."""
    parts: list[Any] = []
    fields = resource.fields()
    given = zip(form.getlist("field"), form.getlist("operator"), form.getlist("value"), strict=False)
    for name, operator, text in list(given)[:MOST_ROWS]:
        if name:
            value = _value(text.strip(), operator, fields.get(name, "any"))
            parts.append({name: value if operator == "$eq" else {operator: value}})
    raw = form.get("where", "").strip()
    asked: dict[str, str] = {}
    if raw:
        try:
            parts.append(loads(raw))
        except ValueError:
            asked["where"] = raw  # which is refused with the reason
    if parts and "where" not in asked:
        asked["where"] = dumps(_together(parts)).decode().strip()
    if form.get("sort"):
        asked["sort"] = ("-" if form.get("order") == "down" else "") + form["sort"]
    for name in ("max_results", "count", "projection", "embedded"):
        if form.get(name):
            asked[name] = form[name]
    return urlencode(asked)


def _together(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    names = [name for part in parts if isinstance(part, dict) for name in part]
    if len(set(names)) == len(names) and all(isinstance(part, dict) for part in parts):
        return {name: value for part in parts for name, value in part.items()}
    return {"$and": parts}


def _value(text: str, operator: str, kind: str) -> Any:
    """What was typed, in the type of the field; what does not fit stays text, which is refused with the reason."""
    if operator == "$regex":
        return "^" + "".join(f"\\{letter}" if letter in SPECIAL else letter for letter in text)
    if operator == "$exists" or kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if operator == "$in":
        return _json(text, [part.strip() for part in text.split(",")])
    if kind in ("integer", "number"):
        return _json(text, text)
    return text if kind in ("string", "objectid", "datetime") else _json(text, text)


def _json(text: str, otherwise: Any) -> Any:
    try:
        return loads(text)
    except ValueError:
        return otherwise


def _rows(where: str) -> list[Row] | None:
    """The rows that mean this filter; None where none do."""
    try:
        asked = loads(where) if where else {}
    except ValueError:
        return None
    parts = asked.get("$and", [asked]) if isinstance(asked, dict) and len(asked) == 1 else [asked]
    rows = []
    for part in parts if isinstance(parts, list) else [None]:
        for name, value in part.items() if isinstance(part, dict) else [("$", None)]:
            row = _row(name, value)
            if row is None:
                return None
            rows.append(row)
    return rows


def _row(name: str, value: Any) -> Row | None:
    if name.startswith("$"):
        return None
    operator = "$eq"
    if isinstance(value, dict):
        if len(value) != 1 or next(iter(value)) not in OPERATORS:
            return None
        ((operator, value),) = value.items()
    if operator == "$regex":
        text = _unescaped(value) if isinstance(value, str) else None
        return Row(name, operator, text) if text is not None else None
    if isinstance(value, dict) or value is None:
        return None
    if isinstance(value, str):
        # Text that reads as JSON would come back as that.
        return Row(name, operator, value)
    return Row(name, operator, dumps(value).decode().strip())


def _unescaped(pattern: str) -> str | None:
    """The beginning that a pattern asks for; None where it asks for anything else."""
    rest = pattern.removeprefix("^")
    if rest == pattern:
        return None
    text, escaped = "", False
    for letter in rest:
        if not escaped and letter == "\\":
            escaped = True
        elif escaped != (letter in SPECIAL):
            return None
        else:
            text, escaped = text + letter, False
    return None if escaped else text
