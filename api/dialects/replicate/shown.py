"""Predictions as they are answered: found where the caller may see them, shown with URLs of this server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.auth.caller import current_caller
from api.dialects.predicting import the_service
from api.dialects.replicate.addresses import url_of
from api.errors import ApiError
from ml.database.client import Document


def found(id_: str) -> Document:
    """The job of a prediction that the caller may see. Raises a 404."""
    caller = current_caller()
    job = the_service().predictions.find(id_, caller.owner, caller.scope("jobs"))
    if job is None:
        raise ApiError(404, f"there is no prediction {id_[:100]!r}")
    return job


def shown(jobs: Sequence[Document], most: int | None = None) -> list[dict[str, Any]]:
    """The objects of jobs, in order; of tensors with more than `most` values what they are."""
    return the_service().predictions.shown(jobs, current_caller().owner, url_of(""), most)
