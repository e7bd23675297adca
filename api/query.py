"""The query string of a resource, read strictly: what is not understood is an error, not nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from werkzeug.datastructures import MultiDict

from api.errors import ApiError
from api.resources.base import Resource
from ml.database.filters import FilterError, field_type, parse_filter

PAGE_SIZE = 25
MOST_PER_PAGE = 1000
#: Beyond this many documents MongoDB would only count; ask with a filter on _id instead.
MOST_SKIPPED = 10**9

LIST_PARAMETERS = frozenset({"where", "sort", "projection", "page", "max_results", "count", "embedded", "pretty"})
ITEM_PARAMETERS = frozenset({"projection", "embedded", "pretty"})


@dataclass(frozen=True, slots=True)
class Query:
    """What a GET asks of a resource."""

    where: dict[str, Any] = field(default_factory=dict)
    sort: list[tuple[str, int]] = field(default_factory=list)
    #: Field to whether it is wanted; None: all of them.
    projection: dict[str, bool] | None = None
    page: int = 1
    max_results: int = PAGE_SIZE
    count: bool = False
    embedded: list[str] = field(default_factory=list)

    @property
    def skip(self) -> int:
        return (self.page - 1) * self.max_results

    @property
    def shown(self) -> set[str]:
        """The fields that are asked for by name."""
        return {name.partition(".")[0] for name, shown in (self.projection or {}).items() if shown}

    @property
    def hidden(self) -> set[str]:
        """The fields, and paths below them, that are asked not to be there."""
        return {name for name, shown in (self.projection or {}).items() if not shown}


def parse_query(args: MultiDict[str, str], resource: Resource, *, item: bool) -> Query:
    """The query that these parameters mean. Raises a 400 that names each parameter which is wrong."""
    allowed = ITEM_PARAMETERS if item else LIST_PARAMETERS
    if not resource.embeddable:
        allowed = allowed - {"embedded"}
    issues: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name, given in args.lists():
        if name not in allowed:
            issues[name] = f"no such parameter; there are {', '.join(sorted(allowed))}"
        elif len(given) > 1:
            issues[name] = f"given {len(given)} times"
        elif name != "pretty":
            try:
                values[name] = _PARSERS[name](given[0], resource)
            except ValueError as error:
                issues[name] = str(error)
    query = Query(**{name: value for name, value in values.items() if name not in issues})
    if query.skip > MOST_SKIPPED:
        issues["page"] = f"expected page * max_results up to {MOST_SKIPPED}, got page {query.page}"
    if issues:
        raise ApiError(400, "the query is not understood: " + ", ".join(issues), issues)
    return query


def _where(text: str, resource: Resource) -> dict[str, Any]:
    return parse_filter(text, resource.fields()) if text else {}


def _sort(text: str, resource: Resource) -> list[tuple[str, int]]:
    """`-_created,name`, or MongoDB's way as JSON: [["_created", -1], ["name", 1]]."""
    if text.lstrip().startswith("["):
        pairs = _json(text)
        if not isinstance(pairs, list) or not all(
            isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and pair[1] in (1, -1)
            for pair in pairs
        ):
            raise ValueError('expected fields as in -_created,name or [["_created", -1], ["name", 1]]')
    else:
        pairs = [
            (part.strip().removeprefix("-"), -1 if part.strip().startswith("-") else 1)
            for part in text.split(",")
            if part
        ]
    fields = resource.fields()
    for name, _ in pairs:
        _known(name, fields)
    if len(pairs) > 8:
        raise ValueError(f"expected at most 8 fields, got {len(pairs)}")
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a field is named twice")
    return [(name, int(direction)) for name, direction in pairs]


def _projection(text: str, resource: Resource) -> dict[str, bool]:
    value = _json(text)
    if not isinstance(value, dict) or not value or not all(v in (0, 1) for v in value.values()):
        raise ValueError('expected fields to show, as in {"label": 1}, or to hide, as in {"output": 0}')
    for name in value:
        _known(name, resource.fields())
    shown = {bool(v) for name, v in value.items() if name != "_id"}
    if len(shown) > 1:
        raise ValueError("expected either only 1 or only 0")
    if any(a != b and b.startswith(f"{a}.") for a in value for b in value):
        raise ValueError("a field is named together with one below it")
    return {name: bool(v) for name, v in value.items()}


def _embedded(text: str, resource: Resource) -> list[str]:
    value = _json(text)
    allowed = ", ".join(resource.embeddable)
    if not isinstance(value, dict) or not all(v in (0, 1) for v in value.values()):
        raise ValueError(f'expected an object as in {{"input": 1}}; fields that can be embedded: {allowed}')
    for name in value:
        if name not in resource.embeddable:
            raise ValueError(f"{name} cannot be embedded; fields that can: {allowed}")
    return [name for name, v in value.items() if v]


def _whole(most: int) -> Any:
    def parse(text: str, _: Resource) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 18 or not 1 <= int(text) <= most:
            raise ValueError(f"expected a whole number from 1 to {most}, got {text[:40]}")
        return int(text)

    return parse


def _flag(text: str, _: Resource) -> bool:
    if text not in ("true", "false", "1", "0"):
        raise ValueError(f"expected true or false, got {text[:40]}")
    return text in ("true", "1")


def _known(name: str, fields: Mapping[str, str]) -> None:
    if field_type(name, fields) is None:
        raise ValueError(f"no such field: {name[:100]!r}; there are {', '.join(sorted(fields))}")


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error})") from None


_PARSERS: Mapping[str, Any] = {
    "where": _where,
    "sort": _sort,
    "projection": _projection,
    "embedded": _embedded,
    "page": _whole(10**9),
    "max_results": _whole(MOST_PER_PAGE),
    "count": _flag,
}

__all__ = ["FilterError", "Query", "parse_query"]
