"""How tests speak each dialect: a module here of the dialect's name, with what `Spoken` asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from werkzeug.test import TestResponse

from api.dialects import DIALECTS
from tests.conftest import Api


class Spoken(Protocol):
    """What tests of every dialect need to know of one."""

    #: Its lines of the table in tests/integration/everyone.py.
    TABLE: str
    #: Paths that are the dialect's and lead nowhere.
    NOT_THERE: Sequence[str]
    #: Statuses of Almanac's that this dialect has others for.
    STATUSES: Mapping[int, int]
    #: Whether a prediction is one row, which a job gives: what becomes of it is then no error.
    ONE_ROW: bool
    #: What is said where there is no model `nope`, and no version 9 of `sums`, which has the one.
    NO_MODEL: str
    NO_VERSION: str

    def body_for(self, method: str, rule: str, variant: str) -> dict[str, Any]:
        """What the test client is to send for a line of the table; the model is `sums`, which takes three numbers."""

    def ask(
        self,
        api: Api,
        rows: Any,
        *,
        model: str = "sums",
        version: int | None = None,
        timeout_ms: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> TestResponse:
        """A prediction with a model of one input, as JSON; `timeout_ms` where the protocol has such a thing."""

    def rows_of(self, answer: TestResponse) -> Any:
        """The rows of the sole output of a successful answer, as nested lists."""

    def problem(self, answer: TestResponse) -> str:
        """The text of an error; fails where its shape is not the dialect's."""


SPOKEN: dict[str, Spoken] = {
    dialect.name: cast(Spoken, import_module(f"{__name__}.{dialect.name}")) for dialect in DIALECTS
}


def spoken_at(path: str) -> Spoken | None:
    """The dialect whose path, or rule, it is."""
    return next((SPOKEN[dialect.name] for dialect in DIALECTS if dialect.owns(path)), None)
