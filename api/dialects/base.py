"""What a dialect is: another server's protocol over the same service. What a dialect does not say is as everywhere.

A dialect is a file beside this one and a line in the list in `__init__.py`. Its views read a request in its own words,
call `predicting.predict`, and write the answer in its own words; keys, roles, limits, places, deadlines and records are
not theirs to care about.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint

from api.errors import ApiError
from api.openapi.describe import Schema
from api.plain import Plain
from api.render import dumps
from api.resources.base import Roles


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One protocol. The part of a rule that is a model's name is `<name>`: a key may be for some models alone."""

    #: Results' `protocol`, the name of the blueprint and of the file.
    name: str
    #: The views; each is described for the OpenAPI document as every other (`@describes`).
    blueprint: Blueprint
    #: Matches the beginning of every path that is this dialect's, also of those that lead nowhere.
    paths: re.Pattern[str]
    #: (endpoint, method) to who may do it, for every endpoint that is not public.
    permissions: Mapping[tuple[str, str], Roles]
    #: An error as this protocol says it, as JSON can have it.
    error: Callable[[ApiError], Any]
    #: The schema of these.
    error_schema: Schema
    #: Statuses that this protocol has others for.
    statuses: Mapping[int, int] = field(default_factory=dict)
    #: Endpoints that answer without a key.
    public: frozenset[str] = frozenset()
    #: Headers of its requests and answers for the OpenAPI document, as shared.REQUEST_HEADERS and HEADERS there.
    request_headers: Mapping[str, Schema] = field(default_factory=dict)
    answer_headers: Mapping[str, Schema] = field(default_factory=dict)
    #: How its predictions are answered before Flask where they are plain; None: they never are.
    plain: Plain | None = None
    #: What it is, in a sentence; its name is the tag of its operations.
    about: str

    def owns(self, path: str) -> bool:
        """Whether what is answered at this path is said in this protocol."""
        return self.paths.match(path) is not None

    def status(self, code: int) -> int:
        """The status that stands for one of Almanac's."""
        return self.statuses.get(code, code)

    def said(self, error: ApiError) -> tuple[int, bytes]:
        """The status and the body of an error."""
        return self.status(error.code), dumps(self.error(error))


def in_a_sentence(error: ApiError) -> str:
    """An error's message with its issues, for protocols whose errors are a text."""
    issues = "; ".join(f"{place}: {reason}" for place, reason in error.issues.items())
    return f"{error.message}: {issues}" if issues else error.message
