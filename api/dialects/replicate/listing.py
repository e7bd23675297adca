"""The list of predictions: pages, the newest first, each with the URLs of its neighbours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bson import ObjectId
from bson.errors import InvalidId

from api.auth.caller import current_caller
from api.dialects.predicting import the_service
from api.dialects.replicate.blueprint import blueprint
from api.dialects.replicate.described import LIST
from api.dialects.replicate.paging import PAGE, Cursor, asked_cursor, not_a_cursor, page
from api.dialects.replicate.shown import shown
from api.openapi.describe import describes
from api.present import MOST_IN_LISTS
from api.responses import AlmanacResponse, json_answer
from ml.database.client import Document
from ml.service import PredictionPlace

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@blueprint.get("/v1/predictions")
@describes(LIST)
def listed() -> AlmanacResponse:
    """The caller's predictions."""
    cursor = asked_cursor()
    place = None if cursor is None else _read(cursor)
    scope = current_caller().scope("jobs")
    found = the_service().predictions.beyond(scope, place, PAGE + 1, back=cursor is not None and cursor.back)
    return json_answer(page(cursor, found, _place, lambda jobs: shown(jobs, MOST_IN_LISTS)))


def _place(job: Document) -> str:
    """Where a prediction stands in the list."""
    created = job.get("_created")
    ms = (created - EPOCH) // timedelta(milliseconds=1) if isinstance(created, datetime) else 0
    return f"{ms}.{job['_id']}"


def _read(cursor: Cursor) -> PredictionPlace:
    """The same as the database has it. Raises a 400 for what no page had."""
    ms, _, id_ = cursor.place.partition(".")
    try:
        return EPOCH + timedelta(milliseconds=int(ms)), ObjectId(id_)
    except (ValueError, OverflowError, InvalidId):
        raise not_a_cursor(str(cursor)) from None
