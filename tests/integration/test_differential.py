"""Random requests to three models from many threads: every answer is Keras's to that request alone.

TEST_REQUESTS says how many; ten thousand take some minutes.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bson import ObjectId

from ml.build.keras_model import KerasModel, import_keras
from ml.database.blobs import Blobs
from ml.database.client import database_of
from ml.database.documents import stamp_new
from ml.executors.onnx import OnnxExecutor
from tests.conftest import Api

REQUESTS = int(os.environ.get("TEST_REQUESTS", "320"))
THREADS = 16
MOST_ROWS = 40


def models() -> dict[str, Any]:
    keras = import_keras()
    keras.utils.set_random_seed(5)
    layers = keras.layers
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b", dtype="int32")
    joined = layers.Concatenate()([layers.Dense(8, activation="tanh")(a), layers.Rescaling(0.1)(b)])
    two = keras.Model(
        {"a": a, "b": b}, {"u": layers.Dense(3, name="u")(joined), "v": layers.Dense(2, name="v")(joined)}
    )
    free = keras.Sequential([keras.Input((None, 3), name="steps"), layers.GRU(5), layers.Dense(2, name="out")])
    whole = keras.Sequential(
        [keras.Input((5,), name="words", dtype="int32"), layers.Embedding(50, 4), layers.Flatten(), layers.Dense(3)]
    )
    return {"two": two, "free": free, "whole": whole}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[KerasModel, Path]]:
    """Each model, with the graph that a build would have made of it."""
    made = {}
    for name, model in models().items():
        directory = tmp_path_factory.mktemp(name) / "onnx"
        keras = KerasModel(model, directory.with_name("saved_model"))
        OnnxExecutor.export(keras, directory)
        made[name] = (keras, directory)
    return made


def register(client: Any, name: str, keras: KerasModel, directory: Path) -> None:
    db = database_of(client)
    document = {
        "name": name,
        "version": 1,
        "state": "available",
        "digest": "0" * 64,
        **keras.signature.to_document(),
        "aliases": [],
        "executor": "onnx",
        "artefacts": {"onnx": Blobs(db).put_directory(directory, "onnx.tar")},
    }
    db["models"].insert_one(stamp_new(document, "admin"))


def rows(name: str, rng: random.Random) -> dict[str, np.ndarray[Any, Any]]:
    count = rng.randint(1, MOST_ROWS)
    numbers = np.random.default_rng(rng.randrange(2**32))
    if name == "two":
        return {"a": numbers.normal(size=(count, 4)).astype("f4"), "b": numbers.integers(-9, 9, (count, 3), "i4")}
    if name == "free":
        return {"steps": numbers.normal(size=(count, rng.randint(1, 9), 3)).astype("f4")}
    return {"words": numbers.integers(0, 50, (count, 5), "i4")}


def body(inputs: dict[str, np.ndarray[Any, Any]], rng: random.Random) -> dict[str, Any]:
    """The rows as JSON in one of the forms that there are; some ask for one output alone, beside others that do not."""
    count = len(next(iter(inputs.values())))
    if len(inputs) == 1 and rng.random() < 0.7:
        instances: list[Any] = next(iter(inputs.values())).tolist()
    else:
        instances = [{name: values[row].tolist() for name, values in inputs.items()} for row in range(count)]
    asked: dict[str, Any] = {"instances": instances, "store": rng.choice(["all", "all", "result", "none"])}
    if len(inputs) == 2 and rng.random() < 0.5:
        asked["outputs"] = [rng.choice("uv")]
    return asked


@pytest.mark.timeout(900)
def test_every_answer_is_keras_own(
    client: Any, make_api: Callable[..., Api], built: dict[str, tuple[KerasModel, Path]]
) -> None:
    api = make_api(client)
    for name, (keras, directory) in built.items():
        register(client, name, keras, directory)
    asking_keras = threading.Lock()
    wrong: list[str] = []
    told: dict[ObjectId, dict[str, Any]] = {}

    def ask(seed: int) -> None:
        rng = random.Random(seed)
        mine = Api(api.http.application.test_client())
        for _ in range(REQUESTS // THREADS):
            name = rng.choice(list(built))
            keras, _ = built[name]
            inputs = rows(name, rng)
            asked = body(inputs, rng)
            answer = mine.post(f"models/{name}/predict", json=asked)
            if answer.status_code != 200:
                wrong.append(f"{name}: {answer.status_code} {answer.text}")
                return
            predictions = answer.json["predictions"]
            with asking_keras:
                expected = keras.answer(inputs)
            wanted = asked.get("outputs", list(expected))
            # One output comes as it is, several by name.
            given = [{wanted[0]: p["output"]} if len(wanted) == 1 else p["output"] for p in predictions]
            if any(row.keys() != set(wanted) for row in given):
                wrong.append(f"{name}: asked {wanted}, got {given[0].keys()}")
                return
            for output in wanted:
                values = expected[output]
                got = [row[output] for row in given]
                if np.shape(got) != values.shape or not np.allclose(got, values, rtol=1e-4, atol=1e-5):
                    wrong.append(f"{name}.{output}: {got} for {values.tolist()}")
                    return
            told.update({ObjectId(p["_id"]): row for p, row in zip(predictions, given, strict=True) if "_id" in p})

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    stored = {result["_id"]: result["output"] for result in database_of(client)["results"].find()}
    assert stored.keys() == told.keys()
    for id_, row in told.items():
        for name, values in row.items():
            np.testing.assert_allclose(stored[id_][name], values, rtol=1e-6)
