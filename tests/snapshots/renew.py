"""Writes the snapshots anew: `python -m tests.snapshots.renew`; then look at what `git diff` shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eve import Eve
from pymongo import MongoClient

from api import create_app
from api.openapi import document
from settings import Settings

OPENAPI = Path(__file__).with_name("openapi.json")


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


if __name__ == "__main__":
    OPENAPI.write_text(openapi_text())
    print(f"written: {OPENAPI}")
