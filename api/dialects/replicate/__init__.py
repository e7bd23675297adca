"""Replicate's API for predictions, as its clients speak it: `/v1/predictions` and what belongs to it."""

from __future__ import annotations

import re

from api.dialects.base import Dialect
from api.dialects.replicate import create, files, listing, models, one, secret, stream  # noqa: F401 (their views)
from api.dialects.replicate.blueprint import NAME, blueprint
from api.dialects.replicate.described import REQUEST_HEADERS
from api.dialects.replicate.errors import ERROR, problem
from api.dialects.replicate.files_described import ANSWER_HEADERS
from api.dialects.replicate.permissions import PERMISSIONS

DIALECT = Dialect(
    name=NAME,
    blueprint=blueprint,
    # Under /v1/models all else is TensorFlow Serving's.
    paths=re.compile(rf"/v1/(?:predictions|deployments|webhooks|files)(?=/|\Z)|{models.PATHS}"),
    permissions={**PERMISSIONS, **files.PERMISSIONS, **models.PERMISSIONS},
    error=problem,
    error_schema=ERROR,
    request_headers=REQUEST_HEADERS,
    answer_headers=ANSWER_HEADERS,
    about="Replicate's API for predictions: each is a job of one row, which outlives this server.",
)
