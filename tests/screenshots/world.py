"""What pictures show besides the demo: another model, one that could not be built, and an hour of predictions."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import tempfile
import zipfile
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from bson import ObjectId

from ml.database.documents import now, stamp_new
from tests.end_to_end.almanac import Almanac
from tests.waiting import until

SEED = 7


def furnish(almanac: Almanac) -> None:
    """Register the models, and store results of the last hour as if they had been predicted."""
    irises = {"name": "irises", "classes": "setosa,versicolor,virginica", "aliases": "stable"}
    almanac.post("models", data={**irises, "description": "Fisher's irises."}, files={"file": irises_model()})
    almanac.post("models", data={"name": "broken"}, files={"file": broken_model()})
    until(lambda: not almanac.get('models?where={"state":"loading"}').json()["_items"], 180, "all are built")
    with almanac.database() as client:
        mark(client["almanac"]["results"])
        client["almanac"]["results"].insert_many(an_hour(client["almanac"]["inputs"].distinct("_id")))


def mark(results: Any) -> None:
    """Say of two thirds of the demo's results what is true, of some that they are wrong."""
    for number, result in enumerate(results.find({"job": {"$exists": True}}, {"label": True}).sort("_id", 1)):
        if number % 3:
            truth = str((int(result["label"]) * 3 + 1) % 10) if number % 17 == 0 else result["label"]
            results.update_one({"_id": result["_id"]}, {"$set": {"truth": truth}})


def irises_model() -> bytes:
    """A small network over four measures, trained a little."""
    code = """
import sys, keras, numpy as np
from sklearn.datasets import load_iris
iris = load_iris()
keras.utils.set_random_seed(3)
model = keras.Sequential([keras.Input((4,), name="measures"), keras.layers.Dense(16, activation="relu"),
                          keras.layers.Dense(3, activation="softmax", name="species")])
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(iris.data.astype("float32"), iris.target, epochs=60, verbose=0)
model.save(sys.argv[1])
"""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "irises.keras"
        subprocess.run([sys.executable, "-c", code, str(file)], check=True, capture_output=True)
        return file.read_bytes()


def broken_model() -> bytes:
    """An archive that has no model in it."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("config.json", "{}")
    return stream.getvalue()


def an_hour(inputs: list[ObjectId]) -> list[dict[str, Any]]:
    """Results of digits over the last hour: more by and by, some of them failed."""
    chance, made, present = random.Random(SEED), [], now()
    for minute in range(60):
        for _ in range(int(40 + 30 * math.sin(minute / 9) + chance.random() * 20)):
            at = present - timedelta(minutes=59 - minute, seconds=chance.random() * 50)
            result: dict[str, Any] = {
                "_id": ObjectId(),
                "input": chance.choice(inputs),
                "model": "digits",
                "version": 1,
                "status": "succeeded",
                "output": {"digit": [0.1] * 10},
                "label": chance.choice("0123456789"),
                "score": round(0.6 + 0.4 * chance.random(), 3),
                "timing": {"queue_ms": chance.random(), "compute_ms": 0.4 + chance.expovariate(1), "batch": 1},
                "executor": "onnx",
                "protocol": "rest",
            }
            made.append(stamp_new(result, "admin", at))
    return made
