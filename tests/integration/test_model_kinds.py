"""Every kind of model that people bring: built, chosen for, and equal to Keras on a thousand rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.build import BuildReport, build_model
from ml.build.proof import allowed
from ml.executors import load_executor

Arrays = dict[str, NDArray[Any]]

ROWS = 1000
AT_ONCE = 50
#: What runs models without TensorFlow.
LIGHT = {"onnx", "openvino"}
RANDOM = np.random.default_rng(20_261_121)
#: Saved by Keras on another backend, in a process of its own: a process has one backend.
ELSEWHERE = """
import sys
import keras
assert keras.backend.backend() == "jax"
keras.utils.set_random_seed(5)
layers = keras.layers
keras.Sequential([
    keras.Input((16, 16, 1)),
    layers.RandomFlip(),
    layers.Conv2D(8, 3, activation="silu"),
    layers.GroupNormalization(4),
    layers.Flatten(),
    layers.Dropout(0.3),
    layers.Dense(5, activation="softmax"),
]).save(sys.argv[1])
"""


@dataclass
class Kind:
    """A model as a file, rows for it, and the executors of which one is to be chosen."""

    model: Any
    file: Path
    rows: Arrays
    chosen: set[str]


def floats(*shape: int) -> NDArray[Any]:
    return RANDOM.normal(size=(ROWS, *shape)).astype("f4")


def mlp(keras: Any) -> tuple[Any, Arrays]:
    layers = keras.layers
    hidden = [layers.Dense(512, "relu"), layers.Dense(512, "relu")]
    return keras.Sequential([keras.Input((784,), name="x"), *hidden, layers.Dense(10, "softmax")]), {"x": floats(784)}


def cnn(keras: Any) -> tuple[Any, Arrays]:
    layers = keras.layers
    stack = [layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(32, 3, activation="relu")]
    return keras.Sequential(
        [keras.Input((32, 32, 3), name="x"), *stack, layers.Flatten(), layers.Dense(10, "softmax")]
    ), {"x": floats(32, 32, 3)}


def application(name: str) -> Callable[[Any], tuple[Any, Arrays]]:
    """One of those that Keras has, with random weights and without the softmax, which would make all answers alike."""

    def make(keras: Any) -> tuple[Any, Arrays]:
        shape = (32, 32, 3)
        made = getattr(keras.applications, name)(
            input_tensor=keras.Input(shape, name="x"), weights=None, classes=100, classifier_activation=None
        )
        return made, {"x": floats(*shape)}

    return make


def lstm(keras: Any) -> tuple[Any, Arrays]:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((20, 8), name="x"), layers.LSTM(16, return_sequences=True), layers.LSTM(16), layers.Dense(3)]
    ), {"x": floats(20, 8)}


def gru(keras: Any) -> tuple[Any, Arrays]:
    layers = keras.layers
    return keras.Sequential([keras.Input((None, 4), name="x"), layers.GRU(12), layers.Dense(2)]), {"x": floats(31, 4)}


def attention(keras: Any) -> tuple[Any, Arrays]:
    layers = keras.layers
    x = keras.Input((16, 32), name="x")
    seen = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 8)(x, x))
    seen = layers.LayerNormalization()(seen + layers.Dense(32)(layers.Dense(64, "gelu")(seen)))
    return keras.Model(x, layers.Dense(6)(layers.GlobalAveragePooling1D()(seen))), {"x": floats(16, 32)}


def embedding(keras: Any) -> tuple[Any, Arrays]:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((12,), dtype="int32", name="x"),
            layers.Embedding(500, 16, mask_zero=True),
            layers.GlobalAveragePooling1D(),
            layers.Dense(4, "softmax"),
        ]
    ), {"x": RANDOM.integers(0, 500, (ROWS, 12)).astype("i4")}


def normalization(keras: Any) -> tuple[Any, Arrays]:
    layers = keras.layers
    rows = (RANDOM.normal(size=(ROWS, 6)) * [1, 10, 100, 0.1, 5, 5] + 3).astype("f4")
    normal = layers.Normalization()
    normal.adapt(rows)
    model = keras.Sequential(
        [keras.Input((6,), name="x"), normal, layers.Dense(16, "relu"), layers.BatchNormalization(), layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    model.fit(rows, rows[:, :1], epochs=1, verbose=0)  # so that the moving averages are some
    return model, {"x": rows}


def several(keras: Any) -> tuple[Any, Arrays]:
    layers = keras.layers
    picture, facts = keras.Input((8, 8, 1), name="picture"), keras.Input((5,), name="facts")
    both = layers.Concatenate()([layers.Flatten()(layers.Conv2D(4, 3)(picture)), layers.Dense(8, "relu")(facts)])
    outputs = {"kind": layers.Dense(4, "softmax")(both), "price": layers.Dense(1)(both)}
    return keras.Model({"picture": picture, "facts": facts}, outputs), {"picture": floats(8, 8, 1), "facts": floats(5)}


def text(keras: Any) -> tuple[Any, Arrays]:
    layers = keras.layers
    words = ["good", "bad", "film", "the", "was", "not", "very", "boring"]
    read = layers.TextVectorization(max_tokens=50, output_sequence_length=8)
    read.adapt(words)
    model = keras.Sequential(
        [
            keras.Input((1,), dtype="string", name="x"),
            read,
            layers.Embedding(50, 8),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2, "softmax"),
        ]
    )
    rows = [[" ".join(RANDOM.choice([*words, "unknown", "été"], 6)).encode()] for _ in range(ROWS)]
    return model, {"x": np.array(rows, object)}


def nested(keras: Any) -> tuple[Any, Arrays]:
    layers = keras.layers
    inner_in = keras.Input((10,))
    inner = keras.Model(inner_in, layers.Dense(10, "tanh")(inner_in), name="inner")
    x = keras.Input((10,), name="x")
    return keras.Model(x, layers.Dense(3)(inner(inner(x)) + x)), {"x": floats(10)}


def mixed_precision(keras: Any) -> tuple[Any, Arrays]:
    layers = keras.layers
    half: dict[str, Any] = {"dtype": "mixed_float16"}
    stack = [layers.Dense(32, "relu", **half), layers.LayerNormalization(**half), layers.Dense(32, "relu", **half)]
    return keras.Sequential([keras.Input((20,), name="x"), *stack, layers.Dense(4, "softmax", dtype="float32")]), {
        "x": floats(20)
    }


MAKERS: dict[str, Callable[[Any], tuple[Any, Arrays]]] = {
    "ResNet50": application("ResNet50"),
    "MobileNetV2": application("MobileNetV2"),
    "MLP": mlp,
    "CNN": cnn,
    "LSTM": lstm,
    "GRU with a free axis": gru,
    "attention": attention,
    "Embedding on integers": embedding,
    "Normalization and BatchNormalization": normalization,
    "several inputs and outputs": several,
    "TextVectorization on strings": text,
    "saved on another backend": lambda keras: (None, {"input_layer": floats(16, 16, 1)}),
    "nested": nested,
    "mixed precision": mixed_precision,
}


@pytest.fixture(scope="module")
def keras() -> Any:
    # As builds import it.
    from ml.build.keras_model import import_keras

    return import_keras()


@pytest.fixture(scope="module")
def kinds(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kind]:
    keras.utils.set_random_seed(1)
    made = {}
    for name, make in MAKERS.items():
        file = tmp_path_factory.mktemp("kinds") / "model.keras"
        model, rows = make(keras)
        if model is None:
            environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
            subprocess.run([sys.executable, "-c", ELSEWHERE, str(file)], env=environment, check=True, timeout=120)
            model = keras.saving.load_model(file)
        else:
            model.save(file)
        made[name] = Kind(model, file, rows, {"tf"} if name.startswith("Text") else LIGHT)
    return made


@pytest.fixture(scope="module")
def builds(kinds: dict[str, Kind], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[BuildReport]]:
    """All of them, two at a time, in the order of MAKERS: the longest first."""
    pool = ThreadPoolExecutor(2)
    futures = {
        name: pool.submit(build_model, kind.file, tmp_path_factory.mktemp("work"), seconds=240, memory_mb=6000)
        for name, kind in kinds.items()
    }
    pool.shutdown(wait=False)
    return futures


# The first takes as long to build as half of the others do: it is waited for last.
@pytest.mark.parametrize("name", [*list(MAKERS)[1:], next(iter(MAKERS))])
def test_it_is_built_and_answers_a_thousand_rows_as_keras_does(
    name: str, kinds: dict[str, Kind], builds: dict[str, Future[BuildReport]]
) -> None:
    kind, report = kinds[name], builds[name].result(timeout=280)
    print(name, json.dumps(report.table), json.dumps(report.ways))
    assert report.executor in kind.chosen, report.log
    answers = in_parts(kind.rows, lambda part: by_keras(kind.model, part, report))
    for executor in {way["executor"]: way for way in reversed(report.ways)}.values():
        directory = report.artefacts[executor["executor"]]
        loaded = load_executor(executor["executor"], directory, report.signature, executor["threads"])
        began = time.perf_counter()
        got = in_parts(kind.rows, loaded.run)
        print(f"{executor}: {ROWS} rows in {time.perf_counter() - began:.2f} s")
        loaded.close()
        for spec in report.signature.outputs:
            assert_equal(got[spec.name], answers[spec.name], "FP16" if name == "mixed precision" else spec.dtype)


def in_parts(rows: Arrays, run: Callable[[Arrays], Arrays]) -> Arrays:
    parts = [run({name: values[at : at + AT_ONCE] for name, values in rows.items()}) for at in range(0, ROWS, AT_ONCE)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def by_keras(model: Any, rows: Arrays, report: BuildReport) -> Arrays:
    import tensorflow as tf

    tensors = {name: tf.constant(values) for name, values in rows.items()}
    answer = model.predict_on_batch(tensors if len(tensors) > 1 else next(iter(tensors.values())))
    return answer if isinstance(answer, dict) else {report.signature.outputs[0].name: answer}


def assert_equal(got: NDArray[Any], want: NDArray[Any], dtype: str) -> None:
    """Within the tolerance that docs/executors.md states, and the largest value in the same place where it is clear."""
    assert got.shape == want.shape
    got, want = got.reshape(ROWS, -1).astype("f8"), want.reshape(ROWS, -1).astype("f8")
    assert np.isfinite(want).all()
    most = allowed(dtype, want, float(np.abs(want).max()))
    assert np.ptp(want, axis=0).max() > 20 * most.max(), "rows that all have one answer would show nothing"
    assert (np.abs(got - want) <= most).all(), f"off by {np.abs(got - want).max():.3g}"
    if want.shape[1] > 1:
        second, first = np.partition(want, -2, axis=1)[:, -2:].T
        clear = first - second > most[:, 0]
        assert clear.any()
        assert (got.argmax(axis=1) == want.argmax(axis=1))[clear].all()
