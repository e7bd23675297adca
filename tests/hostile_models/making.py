"""What hostile model files are made of: a .keras archive in memory, and the parts of its config."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import h5py

METADATA = {"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}
METADATA_NAME, CONFIG_NAME, WEIGHTS_NAME = "metadata.json", "config.json", "model.weights.h5"


def weights(fill: Callable[[h5py.File], object] | None = None) -> bytes:
    """An HDF5 file, empty but for what `fill` puts into it."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        if fill is not None:
            fill(file)
    return stream.getvalue()


def archive(config: Any, compression: int = zipfile.ZIP_DEFLATED, **members: bytes | None) -> zipfile.ZipFile:
    """A .keras file with a config and no weights, still open, in memory; `members` replace others or leave them out."""
    content = {
        METADATA_NAME: json.dumps(METADATA).encode(),
        CONFIG_NAME: config if isinstance(config, bytes) else json.dumps(config).encode(),
        WEIGHTS_NAME: weights(),
        **members,
    }
    made = zipfile.ZipFile(io.BytesIO(), "w", compression)
    for name, data in content.items():
        if data is not None:
            made.writestr(name, data)
    return made


def content(made: zipfile.ZipFile) -> bytes:
    """The bytes of an archive, which this closes."""
    stream = made.fp
    assert isinstance(stream, io.BytesIO)
    made.close()
    return stream.getvalue()


def described(kind: str, module: str | None, registered: str | None = None, **config: Any) -> dict[str, Any]:
    """How a config names an object of a class."""
    return {"module": module, "class_name": kind, "config": config, "registered_name": registered}


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    """A layer of Keras."""
    return {**described(kind, "keras.layers"), "config": {"name": name, "trainable": True, **config}}


def function(name: Any, module: str | None, registered: str | None = None) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered}


def sequential(*layers: dict[str, Any], inputs: int = 4) -> dict[str, Any]:
    """A model of these layers over rows of `inputs` numbers."""
    first = described("InputLayer", "keras.layers", batch_shape=[None, inputs], name="x")
    return described("Sequential", "keras", name="s", trainable=True, layers=[first, *layers])


def file(*layers: dict[str, Any]) -> bytes:
    """A .keras file of these layers."""
    return content(archive(sequential(*layers)))


def good() -> bytes:
    """One that can be built: nothing in it has weights."""
    return file(layer("Activation", "a", activation="relu"), layer("Flatten", "f"))
