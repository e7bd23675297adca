"""How the routes of Replicate's models are described in the OpenAPI document."""

from __future__ import annotations

from api.dialects.replicate.model_schema import COG_VERSION
from api.dialects.replicate.paging import page_schema
from api.openapi.describe import JSON, Answer, Media, named, record
from api.openapi.shared import TIME

_TEXT = {"type": "string"}
_MAYBE = {"type": ["string", "null"]}
A_VERSION = {
    "id": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "created_at": "2026-01-01T11:00:00.000Z",
    "cog_version": COG_VERSION,
    "openapi_schema": {
        "openapi": "3.1.0",
        "components": {"schemas": {"Input": {"type": "object"}, "Output": {"type": "array"}}},
    },
}
VERSION = named(
    "ReplicateVersion",
    record(
        {
            "id": {"type": "string", "description": "The SHA-256 of its file; what a prediction's `version` may be."},
            "created_at": TIME,
            "cog_version": {
                "type": "string",
                "description": "There is no Cog; the schema is as that one makes it.",
            },
            "openapi_schema": {"type": "object", "description": "`components.schemas` has `Input` and `Output`."},
        },
        list(A_VERSION),
    ),
)
A_MODEL = {
    "url": "http://127.0.0.1:8000/console/models/iris",
    "owner": "admin",
    "name": "iris",
    "description": "Fisher's irises.",
    "visibility": "public",
    "github_url": None,
    "paper_url": None,
    "license_url": None,
    "run_count": 0,
    "cover_image_url": None,
    "default_example": None,
    "latest_version": A_VERSION,
}
_NOTHING = {"type": "null"}
MODEL = named(
    "ReplicateModel",
    record(
        {
            "url": {"type": "string", "description": "Its page."},
            "owner": _TEXT,
            "name": _TEXT,
            "description": _MAYBE,
            "visibility": {"type": "string", "const": "public"},
            "github_url": _NOTHING,
            "paper_url": _NOTHING,
            "license_url": _NOTHING,
            "run_count": {"type": "integer", "const": 0, "description": "Not counted here: ask for results."},
            "cover_image_url": _NOTHING,
            "default_example": _NOTHING,
            "latest_version": {
                "anyOf": [VERSION, _NOTHING],
                "description": "That which answers where none is named; null: none is available.",
            },
        },
        list(A_MODEL),
    ),
)

MODELS_PAGE = Media(page_schema(MODEL), {"one": {"previous": None, "next": None, "results": [A_MODEL]}})
VERSIONS_PAGE = Media(page_schema(VERSION), {"one": {"previous": None, "next": None, "results": [A_VERSION]}})
ONE_MODEL = Answer("The model.", {JSON: Media(MODEL, {"iris": A_MODEL})})
ONE_VERSION = Answer("The version.", {JSON: Media(VERSION, {"iris": A_VERSION})})
