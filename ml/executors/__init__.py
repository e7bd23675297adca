"""Ways of running a model: one file each, named as documents name it, behind the interface in base.py."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from ml.executors.base import Executor, ExecutorError
from ml.signature import Signature

#: The names. A file that is put here is one more: it is tried by builds, and loads what they made of it.
KINDS = tuple(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")


def executor_class(kind: str) -> type[Executor]:
    """The executor of that name. Its file is imported; what it needs to run is imported when it loads something.

    Raises ExecutorError where there is none.
    """
    if kind not in KINDS:
        raise ExecutorError(f"there is no executor {kind!r}; there are: {', '.join(KINDS)}")
    module = importlib.import_module(f"{__name__}.{kind}")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Executor) and value.__module__ == module.__name__
    )
    return found


def load_executor(kind: str, artefact: Path, signature: Signature, threads: int = 1) -> Executor:
    """Load an artefact with the executor of that name. Raises ExecutorError."""
    return executor_class(kind).load(artefact, signature, threads)
