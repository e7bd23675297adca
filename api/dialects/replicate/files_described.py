"""How the routes of Replicate's files are described in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping

from api.dialects.replicate.file_form import MOST_NAME, MOST_TYPE
from api.dialects.replicate.paging import page_schema
from api.openapi.describe import BINARY, JSON, Answer, Media, Schema, named, record
from api.openapi.shared import OBJECT_ID, TIME

ANSWER_HEADERS: Mapping[str, Schema] = {
    "Content-Disposition": {"description": "`attachment`, with the file's name.", "schema": {"type": "string"}}
}

A_FILE = {
    "id": "6b00e4c0d035a01704bf3811",
    "name": "seven.png",
    "content_type": "image/png",
    "size": 197,
    "etag": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "checksums": {"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    "metadata": {"scanner": 2},
    "created_at": "2026-01-01T12:00:00.000Z",
    "expires_at": "2026-01-02T12:00:00.000Z",
    "urls": {
        "get": "http://127.0.0.1:8000/v1/files/6b00e4c0d035a01704bf3811",
        "download": "http://127.0.0.1:8000/v1/files/6b00e4c0d035a01704bf3811/download",
    },
}
_TEXT = {"type": "string"}
FILE = named(
    "ReplicateFile",
    record(
        {
            "id": OBJECT_ID,
            "name": _TEXT,
            "content_type": _TEXT,
            "size": {"type": "integer", "description": "Bytes."},
            "etag": {"type": "string", "description": "Its SHA-256."},
            "checksums": record({"sha256": _TEXT}, ["sha256"]),
            "metadata": {"type": "object", "description": "What the upload said of it."},
            "created_at": TIME,
            "expires_at": TIME,
            "urls": record(
                {
                    "get": {"type": "string", "description": "This; in a prediction it stands for the content."},
                    "download": {"type": "string", "description": "The content, for who has the key."},
                },
                ["get", "download"],
            ),
        },
        list(A_FILE),
    ),
)
UPLOAD = record(
    {
        "content": {**BINARY, "description": "The file."},
        "filename": {"type": "string", "maxLength": MOST_NAME, "description": "Its name, if not that of the part."},
        "type": {"type": "string", "maxLength": MOST_TYPE, "description": "Its type, if not that of the part."},
        "metadata": {"type": "string", "description": "An object, as JSON; it may be a part with a name of its own."},
    },
    ["content"],
)
ONE = Answer("What is known of it.", {JSON: Media(FILE, {"a picture": A_FILE})})
FILES_PAGE = Media(page_schema(FILE), {"one": {"previous": None, "next": None, "results": [A_FILE]}})
