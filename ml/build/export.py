"""From a Keras model to what an executor loads. For the child alone."""

from __future__ import annotations

from pathlib import Path

from ml.build.keras_model import KerasModel
from ml.executors.tf import FUNCTION


def saved_model(model: KerasModel, directory: Path) -> None:
    """Write what TfExecutor loads: one function by positions, its variables and its tables."""
    from keras import export

    archive = export.ExportArchive()
    archive.track(model.model)
    archive.add_endpoint(FUNCTION, model.function)
    archive.write_out(str(directory), verbose=False)
