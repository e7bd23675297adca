"""`Cancel-After`: by when a prediction must have ended, as a duration from now."""

from __future__ import annotations

import re

from flask import request

from api.errors import ApiError

HEADER = "Cancel-After"
_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
#: In this order, each once at most; seconds need no unit.
_DURATION = re.compile(r"(?:(?P<d>\d{1,9})d)?(?:(?P<h>\d{1,9})h)?(?:(?P<m>\d{1,9})m)?(?:(?P<s>\d{1,9})s?)?", re.ASCII)
MOST_DAYS = 30


def seconds_allowed() -> int | None:
    """The seconds that this request gives its prediction; None: any number. Raises a 422."""
    given = request.headers.get(HEADER)
    if given is None:
        return None
    found = _DURATION.fullmatch(given.strip())
    seconds = sum(int(found[unit] or 0) * factor for unit, factor in _UNITS.items()) if found else 0
    if not 1 <= seconds <= MOST_DAYS * _UNITS["d"]:
        expected = f"expected a duration such as 30s, 5m, 1h30m or 1d, of 1 second to {MOST_DAYS} days"
        raise ApiError(422, "the prediction does not fit", {HEADER: f"{expected}, got {given[:100]!r}"})
    return seconds
