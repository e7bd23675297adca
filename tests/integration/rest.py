"""What the tests of the REST surface share: names, files as clients send them, and what is in the database."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from PIL import Image
from pymongo import MongoClient

from ml.database.client import database_of
from tests.conftest import Api

Client = MongoClient[dict[str, Any]]

NDJSON = {"Accept": "application/x-ndjson"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
#: Predict with the stub model that `stub` registers by default, and a row of it.
URL = "models/sums/predict"
ROW = [1, 2, 3]


def tensor(name: str, dtype: str, *shape: int) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": list(shape)}


def stored(client: Client, name: str) -> list[dict[str, Any]]:
    return list(database_of(client)[name].find().sort("_id", 1))


def nothing_stored(client: Client) -> bool:
    return not stored(client, "inputs") and not stored(client, "results")


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def image(array: Any, kind: str = "PNG", mode: str | None = None) -> bytes:
    stream = io.BytesIO()
    picture = Image.fromarray(np.asarray(array))
    (picture.convert(mode) if mode else picture).save(stream, kind)
    return stream.getvalue()


def upload(api: Api, content: bytes, **fields: str) -> Any:
    return api.post("inputs", data={"file": (io.BytesIO(content), "file.bin"), **fields})
