"""Replicate's API, as its clients speak it: `/v1/files/...`, and of `/v1/models` what TensorFlow Serving leaves."""

from __future__ import annotations

import re

from api.dialects.base import Dialect
from api.dialects.replicate import files, models
from api.dialects.replicate.blueprint import NAME, blueprint
from api.dialects.replicate.errors import ERROR, problem
from api.dialects.replicate.files_described import ANSWER_HEADERS

DIALECT = Dialect(
    name=NAME,
    blueprint=blueprint,
    paths=re.compile(rf"/v1/(?:predictions|files)(?=/|\Z)|{models.PATHS}"),
    permissions={**files.PERMISSIONS, **models.PERMISSIONS},
    error=problem,
    error_schema=ERROR,
    answer_headers=ANSWER_HEADERS,
    about="Replicate's API, as its clients speak it.",
)
