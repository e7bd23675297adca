"""How tests speak the parts of Replicate's protocol that are no predictions: files and models."""

from __future__ import annotations

import io
from typing import Any

TABLE = """
POST   /v1/files                                                201 201 403 201 201 401
GET    /v1/files                                                200 200 200 200 200 401
GET    /v1/files/<file_id>                                      200 404 200 404 200 401
DELETE /v1/files/<file_id>                                      204 404 403 404 204 401
GET    /v1/files/<file_id>/download                             200 404 200 404 200 401
GET    /v1/models                                               200 200 200 200 200 401
GET    /v1/models/<owner>/<name>                                200 200 200 200 200 401
GET    /v1/models/<owner>/<name>/versions                       200 200 200 200 200 401
GET    /v1/models/<owner>/<name>/versions/<version_id>          200 200 200 200 200 401
"""
#: Lines that leave an entry in the audit.
AUDITED = frozenset({"POST /v1/files", "DELETE /v1/files/<file_id>"})
NOT_THERE = ("/v1/files/nope", "/v1/files/nope/download")


def body_for(method: str, rule: str) -> dict[str, Any]:
    return {"data": {"content": (io.BytesIO(b"some"), "some.txt")}} if (method, rule) == ("POST", "/v1/files") else {}
