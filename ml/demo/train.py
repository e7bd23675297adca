"""Run as a program: trains a small network on scikit-learn's handwritten digits and saves it as a .keras file.

Source of the images: the test set of the UCI "Optical Recognition of Handwritten Digits" data (Alpaydin and Kaynak,
1998), 1,797 images of 8x8 pixels with values 0 to 16, as scikit-learn bundles them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

SEED = 20
EPOCHS = 30


def train(target: Path) -> float:
    """Train on the first 1,437 images, save the model, and give its accuracy on those."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from ml.executors.tf import UNUSED, without

    with without(*UNUSED):
        import keras

    from ml.demo.digits import TRAINED_ON, load_images

    images, labels = load_images()
    keras.utils.set_random_seed(SEED)
    model = keras.Sequential(
        [
            keras.Input((8, 8), name="image"),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Reshape((8, 8, 1)),
            keras.layers.Conv2D(32, 3, activation="relu", padding="same"),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(images[:TRAINED_ON], labels[:TRAINED_ON], epochs=EPOCHS, batch_size=64, verbose=0)
    model.save(target)
    return float(history.history["accuracy"][-1])


if __name__ == "__main__":
    print(f"{train(Path(sys.argv[1])):.3f}")  # noqa: T201
