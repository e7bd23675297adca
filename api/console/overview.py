"""`/`: what happens here now: predictions a minute, how long they take, what waits, what failed."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, request

from api.auth.caller import current_caller
from api.console import layout
from api.console.build_table import milliseconds
from api.console.charts import Chart, chart_of
from api.console.negotiation import API, wants_page
from api.console.now import MOST_WAITING, Overview, overview_of
from api.console.versions import may_predict, may_register
from api.openapi.describe import no_operation
from ml.database.documents import now as present_time

blueprint = Blueprint("overview", __name__, template_folder="templates")


@blueprint.get("/")
@no_operation
def page() -> Any:
    """The overview; programs are led to the API."""
    if not wants_page(request.environ):
        return redirect(f"{API}/", 303)
    caller = current_caller()
    found = overview_of(caller)
    return layout.page(
        "overview.html",
        now=found,
        at=present_time().strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        minutes=_chart(found),
        unknown=found.minutes.count(None),
        p50=_time(found.p50),
        p95=_time(found.p95),
        most_waiting=MOST_WAITING,
        may_register=may_register(caller),
        may_predict=may_predict(caller),
    )


def _chart(found: Overview) -> Chart:
    values = found.minutes
    last = len(values) - 1
    known = [value for value in values if value is not None]
    total = f"{sum(known):,} predictions in the last hour, at most {max(known, default=0):,} in a minute"
    return chart_of(
        "Predictions",
        "stored a minute",
        "minutes ago",
        values,
        [_title(value, last - index, found.most_counted) for index, value in enumerate(values)],
        [(last - back, str(back)) for back in (59, 50, 40, 30, 20, 10, 0)],
        total + (f"; {values.count(None)} minutes are not counted yet" if None in values else ""),
    )


def _title(value: int | None, ago: int, most: int) -> str:
    when = "in this minute" if ago == 0 else f"{ago} minute{'s' if ago > 1 else ''} ago"
    if value is None:
        return f"{when}: not counted yet"
    return f"{when}: {value:,}{' or more' if value >= most else ''}"


def _time(value: float | None) -> str:
    return f"{milliseconds(value)} ms" if value is not None else ""
