"""Writes the snapshots and docs/api.md anew: `python -m tests.snapshots.renew`; then look at what `git diff` shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eve import Eve
from pymongo import MongoClient

from api import create_app
from api.openapi import document
from api.openapi.page import page
from settings import Settings

OPENAPI = Path(__file__).with_name("openapi.json")
API_PAGE = Path(__file__).parents[2] / "docs/api.md"


def plain_app() -> Eve:
    """An app whose database is nowhere, with settings as they come."""
    client: MongoClient[dict[str, Any]] = MongoClient(
        "mongodb://127.0.0.1:1", connect=False, serverSelectionTimeoutMS=1, tz_aware=True
    )
    settings = Settings(data_dir=Path("/nowhere"), admin_key="alm_key-of-a-snapshot", _env_file=None)
    return create_app(settings, client)


def openapi_text() -> str:
    """The document as the snapshot has it."""
    return json.dumps(document(plain_app()), indent=1, ensure_ascii=False) + "\n"


def page_text() -> str:
    """docs/api.md, made from the document."""
    return page(document(plain_app()))


if __name__ == "__main__":
    OPENAPI.write_text(openapi_text())
    API_PAGE.write_text(page_text())
    print(f"written: {OPENAPI}, {API_PAGE}")
