"""A list as a table: a row for each document, its id a link, tensors by their shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from api.console.audit_table import COLUMNS, audit_rows
from api.console.json_html import cell_html
from api.resources.base import Resource

#: Columns where a resource names none.
MOST_COLUMNS = 7


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, and the cells of each document."""

    columns: list[str]
    rows: list[list[Markup]]


@dataclass(frozen=True, slots=True)
class Paging:
    """Where other parts of a list are."""

    page: int
    first: int
    last: int
    total: int | None
    previous: str | None
    next: str | None
    count: str | None


def table_of(resource: Resource, items: Sequence[Mapping[str, Any]], *, projected: bool) -> Table:
    """The table of documents as the API answers them; with a projection of what it has."""
    if resource.name == "audit" and not projected:
        return Table(list(COLUMNS), audit_rows(items))
    there = {name for item in items for name in item}
    wanted = resource.columns or tuple(name for name in resource.schema if name not in resource.secrets)[:MOST_COLUMNS]
    if projected:
        wanted = tuple(name for name in resource.schema if name in there)
    shown = [name for name in wanted if name in there]
    columns = ["_id", *shown, "_created"]
    rows = [[cell_html(item.get(name), resource.name, name) for name in columns] for item in items]
    return Table(columns, rows)


def paging_of(path: str, args: Mapping[str, str], answer: Mapping[str, Any]) -> Paging:
    """The addresses of the pages before and after, and of the same with all counted."""
    meta, links = answer["_meta"], answer["_links"]
    page, size, there = meta["page"], meta["max_results"], len(answer["_items"])

    def address(**other: str) -> str:
        return f"{path}?{urlencode({**args, **other})}"

    return Paging(
        page=page,
        first=(page - 1) * size + 1 if there else 0,
        last=(page - 1) * size + there,
        total=meta.get("total"),
        previous=address(page=str(page - 1)) if page > 1 else None,
        next=links.get("next", {}).get("href"),
        count=None if "total" in meta else address(count="true"),
    )
