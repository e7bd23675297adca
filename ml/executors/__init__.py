"""Ways of running a model: one file each, behind the interface in base.py."""

from __future__ import annotations

import importlib
from pathlib import Path

from ml.executors.base import Executor, ExecutorError
from ml.signature import Signature

#: Name in documents to module and class, imported only when such an artefact is loaded.
KINDS = {
    "onnx": ("ml.executors.onnx", "OnnxExecutor"),
    "tf": ("ml.executors.tf", "TfExecutor"),
    "stub": ("ml.executors.stub", "StubExecutor"),
}


def load_executor(kind: str, artefact: Path, signature: Signature) -> Executor:
    """Load an artefact with the executor of that name. Raises ExecutorError."""
    if kind not in KINDS:
        raise ExecutorError(f"there is no executor {kind!r}; there are: {', '.join(KINDS)}")
    module, name = KINDS[kind]
    try:
        executor: type[Executor] = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ExecutorError(f"the executor {kind!r} cannot be used here: {error}") from error
    return executor.load(artefact, signature)
