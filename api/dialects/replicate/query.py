"""Query strings, read strictly: a parameter that means nothing here is refused by its name."""

from __future__ import annotations

from flask import request

from api.errors import ApiError


def only(*names: str) -> None:
    """Refuse parameters other than these. Raises 400."""
    unknown = request.args.keys() - set(names)
    if unknown:
        there = f"there is {', '.join(names)}" if names else "there are none here"
        raise ApiError(400, "the query is not understood", dict.fromkeys(unknown, f"no such parameter; {there}"))
