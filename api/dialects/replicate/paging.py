"""Lists in pages, as Replicate's clients turn them: `next` and `previous` are whole URLs, or null."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import request

from api.dialects.replicate.addresses import url_of
from api.dialects.replicate.query import only
from api.errors import ApiError
from api.openapi.describe import Query, Schema, record

#: Documents on a page.
PAGE = 100

CURSOR = Query("cursor", {"type": "string"}, "Where the page begins, as `next` and `previous` have it.")

T = TypeVar("T")
P = TypeVar("P", int, str)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The place from which a page goes on: the one before it, or with `back` the one behind it."""

    place: str
    back: bool = False

    def __str__(self) -> str:
        return f"{'before' if self.back else 'after'}-{self.place}"


def page_schema(item: Schema) -> Schema:
    """The schema of a page of these."""
    url: Schema = {"type": ["string", "null"], "description": "The URL of the page there, or null: there is none."}
    return record(
        {"previous": url, "next": url, "results": {"type": "array", "items": item}}, ["previous", "next", "results"]
    )


def asked_cursor() -> Cursor | None:
    """Where this request wants its page to begin; None: at the beginning. Raises 400, also for other parameters."""
    only(CURSOR.name)
    text = request.args.get("cursor")
    if text is None:
        return None
    direction, found, place = text.partition("-")
    if not found or direction not in ("after", "before") or not place:
        raise not_a_cursor(text)
    return Cursor(place, direction == "before")


def not_a_cursor(text: str) -> ApiError:
    """The answer to a cursor that no page of the list has."""
    issue = f"expected one that `next` or `previous` has, got {text[:100]!r}"
    return ApiError(400, "the query is not understood", {"cursor": issue})


def beyond(places: Sequence[P], cursor: Cursor | None, read: Callable[[str], P]) -> Sequence[P]:
    """Of all places of a list, which go up, those of the page that begins at a cursor, and one more where there is."""
    if cursor is None:
        return places[: PAGE + 1]
    if cursor.back:
        return places[: bisect_left(places, read(cursor.place))][-PAGE - 1 :]
    return places[bisect_right(places, read(cursor.place)) :][: PAGE + 1]


def page(
    cursor: Cursor | None,
    found: Sequence[T],
    place: Callable[[T], str],
    shown: Callable[[Sequence[T]], list[Any]],
) -> dict[str, Any]:
    """The page that begins at a cursor; `found` are the documents there, in the list's order, PAGE and one of them.

    With `back` the one too many is the first, else the last.
    """
    more, back = len(found) > PAGE, cursor is not None and cursor.back
    found = found[-PAGE:] if back else found[:PAGE]
    # Where the cursor came from there are others.
    ahead, behind = (True, more) if back else (more, cursor is not None)
    path = request.path
    return {
        "previous": url_of(path, cursor=str(Cursor(place(found[0]), back=True))) if found and behind else None,
        "next": url_of(path, cursor=str(Cursor(place(found[-1])))) if found and ahead else None,
        "results": shown(found),
    }
