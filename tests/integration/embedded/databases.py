"""Embedded MongoDBs that are up for a block, and clients of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import MongoClient, WriteConcern

from ml.database.embedded import EmbeddedMongo

Client = MongoClient[dict[str, Any]]

#: What the start of an embedded MongoDB tells as it goes.
STEPS = ["listening", "initiated", "primary", "root", "user"]
DURABLE = WriteConcern("majority", j=True)


@contextmanager
def up(data_dir: Path) -> Iterator[EmbeddedMongo]:
    """Killed at the end: a clean stop takes a second, and what was acknowledged must outlive this too."""
    mongo = EmbeddedMongo(data_dir)
    mongo.start()
    try:
        yield mongo
    finally:
        mongo.stop(timeout=0)


def client(uri: str, **more: Any) -> Client:
    return MongoClient(uri, serverSelectionTimeoutMS=5000, **more)


def root_client(data_dir: Path) -> Client:
    """As a person would come in who looks after the database."""
    host = quote(str(data_dir / "mongod.sock"), safe="")
    password = (data_dir / "root.pw").read_text()
    return client(f"mongodb://root:{password}@{host}/?authSource=admin&directConnection=true")


def keep(uri: str, number: int) -> None:
    with client(uri) as connected:
        connected.almanac.get_collection("inputs", write_concern=DURABLE).insert_one({"_id": number})


def kept(uri: str) -> list[int]:
    with client(uri) as connected:
        return [found["_id"] for found in connected.almanac.inputs.find().sort("_id")]
