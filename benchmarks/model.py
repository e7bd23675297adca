"""The models that the benchmarks serve, with random weights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def perceptron(keras: Any) -> Any:
    """784-512-512-10."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((784,), name="x"),
            layers.Dense(512, activation="relu"),
            layers.Dense(512, activation="relu"),
            layers.Dense(10, activation="softmax", name="y"),
        ]
    )


def small(keras: Any) -> Any:
    """8-16-2."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8,), name="x"),
            layers.Dense(16, activation="relu"),
            layers.Dense(2, activation="softmax", name="y"),
        ]
    )


def convolutional(keras: Any) -> Any:
    """Two convolutions over 32 x 32 x 3, and two dense layers."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 3), name="x"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax", name="y"),
        ]
    )


def mobilenet(keras: Any) -> Any:
    """224 x 224 x 3."""
    return keras.applications.MobileNetV2(weights=None)


def resnet(keras: Any) -> Any:
    """224 x 224 x 3."""
    return keras.applications.ResNet50(weights=None)


KINDS: dict[str, Callable[[Any], Any]] = {
    "mlp": perceptron,
    "cnn": convolutional,
    "mobilenetv2": mobilenet,
    "resnet50": resnet,
}


def save(target: Path, kind: str) -> None:
    """Write the model as a .keras file."""
    import keras

    keras.utils.set_random_seed(1)
    (small if kind == "small" else KINDS[kind])(keras).save(target)


if __name__ == "__main__":
    save(Path(sys.argv[1]), sys.argv[2])
