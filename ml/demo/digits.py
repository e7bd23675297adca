"""The demo's documents: its inputs and its job, each with an _id of its own, so that a demo cut short can go on."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError

from ml.audit.entries import commanded
from ml.database.client import Document
from ml.database.documents import identity, now, stamp_new
from ml.service import Service
from ml.tensors import to_stored

NAME = "digits"
CLASSES = [str(digit) for digit in range(10)]
#: The first so many images are trained on, the rest is held out.
TRAINED_ON = 1437
TAG = "digits-demo"
DUPLICATE_KEY = 11000
#: How its ids begin: whatever is stored later comes after them in the order of ids.
EARLIEST = bytes(4)


def load_images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All 1,797 images, shape (1797, 8, 8), values 0 to 16, and their classes; scikit-learn has them."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype("float32"), digits.target.astype("int64")


def is_due(db: Database[Document]) -> bool:
    """Whether nothing was ever registered here, or a demo was begun and is not done."""
    state = db["meta"].find_one({"_id": "demo"})
    if state is not None:
        return not state["done"]
    return db["registry"].find_one({}, {"_id": True}) is None


def mark(db: Database[Document], *, done: bool) -> None:
    """Remember that the demo was begun, or is done."""
    db["meta"].update_one({"_id": "demo"}, {"$set": {"done": done}}, upsert=True)


def insert_images(db: Database[Document]) -> list[ObjectId]:
    """Store the held-out images as inputs with their true class in `meta`; those that are there already stay."""
    images, labels = load_images()
    at = now()
    documents = [
        stamp_new(
            {
                "_id": _id_of(str(index)),
                "data": to_stored(images[index]),
                "model": NAME,
                "tags": [TAG],
                "meta": {"class": str(labels[index]), "image": index},
            },
            "admin",
            at,
        )
        for index in range(TRAINED_ON, len(images))
    ]
    try:
        db["inputs"].insert_many(documents, ordered=False)
        commanded("create", "inputs").write(db, [document["_id"] for document in documents], "admin")
    except BulkWriteError as error:
        if any(issue["code"] != DUPLICATE_KEY for issue in error.details["writeErrors"]):
            raise
    return [document["_id"] for document in documents]


def submit_job(service: Service, version: int) -> ObjectId:
    """The job that scores those inputs with a version; the same one when asked again."""
    job: dict[str, Any] = {
        "_id": _id_of(f"job-{version}"),
        "model": NAME,
        "version": version,
        "where": {"tags": TAG},
    }
    with suppress(DuplicateKeyError):  # a demo before this one was cut short after it
        service.jobs.add(service.jobs.prepare(job, "admin", {}), commanded("create", "jobs"))
    job_id: ObjectId = job["_id"]
    return job_id


def _id_of(what: str) -> ObjectId:
    return ObjectId(EARLIEST + identity(TAG, what).binary[len(EARLIEST) :])


def accuracy(db: Database[Document], job: ObjectId) -> tuple[float, int]:
    """The share of a job's stored results whose label is the true class, and how many results there are; by query."""
    results = db["results"]
    count = results.count_documents({"job": job})
    right = results.count_documents({"job": job, "$expr": {"$eq": ["$label", "$meta.class"]}})
    return (right / count if count else 0.0), count
