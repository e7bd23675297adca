"""The model that the benchmarks serve: a perceptron, 784-512-512-10, with random weights."""

from __future__ import annotations

import sys
from pathlib import Path


def save(target: Path) -> None:
    """Write the model as a .keras file."""
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((784,), name="x"),
            layers.Dense(512, activation="relu"),
            layers.Dense(512, activation="relu"),
            layers.Dense(10, activation="softmax", name="y"),
        ]
    )
    model.save(target)


if __name__ == "__main__":
    save(Path(sys.argv[1]))
