"""What a client would prefer (RFC 7240): the header `Prefer`, read as leniently as it is meant."""

from __future__ import annotations

import re

from flask import request

#: A longer header is as good as none.
LONGEST = 1000

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
#: What stands between commas, and between semicolons; those within quotes are part of a value.
_MEMBERS = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_PARTS = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+')
_PREFERENCE = re.compile(rf"\s*({_NAME})\s*(?:=\s*({_NAME}|{_QUOTED})?)?\s*")


def preferences() -> dict[str, str]:
    """The preferences of this request by name, in lower case, each with its value ("" where it has none).

    Of one that is named twice the first counts, parameters are left out, and what is malformed is ignored.
    """
    header = request.environ.get("HTTP_PREFER", "")
    return parse(header) if header else {}


def parse(header: str) -> dict[str, str]:
    """The same for the text of a header."""
    found: dict[str, str] = {}
    if len(header) > LONGEST:
        return found
    for member in _MEMBERS.findall(header):
        match = _PREFERENCE.fullmatch(next(iter(_PARTS.findall(member)), ""))
        if match:
            value = match[2] or ""
            if value.startswith('"'):
                value = re.sub(r"\\(.)", r"\1", value[1:-1])
            found.setdefault(match[1].lower(), value)
    return found


def seconds_to_wait(most: int) -> int | None:
    """For how long this request may be kept waiting, at most `most` seconds; None where it prefers nothing."""
    value = preferences().get("wait", "")
    return min(int(value), most) if re.fullmatch(r"[0-9]{1,9}", value) else None
