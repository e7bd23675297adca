"""What the tests of `Idempotency-Key` share: requests of every kind, and the key in the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from ml.database.client import database_of
from tests.integration.rest import ROW, URL, Client, npy, stored

KEY = {"Idempotency-Key": "order-1"}
MADE = ("inputs", "results", "jobs")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """The process is gone at this point, as far as the database can tell."""


def counts(client: Client) -> dict[str, int]:
    return {name: found for name in MADE if (found := database_of(client)[name].count_documents({}))}


def the_key(client: Client) -> Any:
    (key,) = stored(client, "idempotency")
    return key


def change_key(client: Client, **fields: Any) -> None:
    assert database_of(client)["idempotency"].update_one({}, {"$set": fields}).matched_count == 1


def file_form(boundary: str, name: str = "a.png", *, swapped: bool = False, content: bytes = b"") -> dict[str, Any]:
    """A multipart body with a row as .npy, written out by hand so that the boundary and the order can differ."""
    content = content or npy(np.array(ROW, "f4"))
    file = (
        f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + content
    field = b'Content-Disposition: form-data; name="%s"\r\n\r\n%s'
    parts = [file, field % (b"meta", b'{"a": 1}'), field % (b"tags", b'["t"]')]
    if swapped:
        parts.reverse()
    line = f"--{boundary}".encode()
    body = b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--\r\n"
    return {"data": body, "content_type": f"multipart/form-data; boundary={boundary}"}


def predict_form(boundary: str) -> dict[str, Any]:
    form = file_form(boundary)
    form["data"] = form["data"].replace(b'name="meta"', b'name="store"').replace(b'{"a": 1}', b"all")
    form["data"] = form["data"].replace(b'name="tags"', b'name="resize"').replace(b'["t"]', b"false")
    return form


BATCH = npy(np.array([ROW, ROW], "f4"))
NPY = {"content_type": "application/x-npy"}
LATER = {"environ_overrides": {"HTTP_PREFER": "respond-async"}}


#: A path, the same request twice, and what is made by one.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, int]]] = {
    "predict": (URL, {"json": {"instances": [ROW, ROW]}}, {}, {"inputs": 2, "results": 2}),
    "predict of a version": ("models/sums/versions/1/predict", {"json": {"instances": [ROW]}}, {},
                             {"inputs": 1, "results": 1}),
    "predict, results alone": (URL, {"json": {"instances": [ROW], "store": "result"}}, {}, {"results": 1}),
    "predict, nothing stored": (URL, {"json": {"instances": [ROW], "store": "none"}}, {}, {}),
    "predict npy": (URL, {"data": BATCH, **NPY}, {}, {"inputs": 2, "results": 2}),
    "predict later": (URL, {"json": {"instances": [ROW, ROW]}, **LATER}, {}, {"inputs": 2, "jobs": 1}),
    "predict files": (URL, predict_form("one"), predict_form("two"), {"inputs": 1, "results": 1}),
    "one input": ("inputs", {"json": {"data": ROW, "tags": ["t"]}}, {}, {"inputs": 1}),
    "inputs": ("inputs", {"json": [{"data": ROW}, {"data": [9, 9, 9]}, {"data": ROW}]}, {}, {"inputs": 3}),
    "a list of one": ("inputs", {"json": [{"data": ROW}]}, {}, {"inputs": 1}),
    "a file": ("inputs", file_form("one"), file_form("two", "b.png", swapped=True), {"inputs": 1}),
    "a job": ("jobs", {"json": {"model": "sums", "where": {"tags": "t"}}}, {}, {"jobs": 1}),
    "jobs": ("jobs", {"json": [{"model": "sums"}, {"model": "sums", "priority": 9}]}, {}, {"jobs": 2}),
}  # fmt: skip
EACH = pytest.mark.parametrize(("path", "first", "second", "made"), CASES.values(), ids=CASES)
