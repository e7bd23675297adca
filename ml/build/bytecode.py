"""Compiles what builds import, once a machine: a build may not write beside it, and would compile it every time."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300.0
#: Keras comes last and tells of all: one that is there was compiled to the end.
IMPORTED = ("ml.build.steps", "onnx", "tf2onnx", "keras.export")
_PROGRAM = f"""
import importlib, sys
sys.path.insert(0, {str(ROOT)!r})
from ml.build.keras_model import import_keras
for name in {IMPORTED[:-1]!r}:
    importlib.import_module(name)
import_keras()
importlib.import_module({IMPORTED[-1]!r})
"""


@cache
def prepare() -> None:
    """Import all of it in a process of its own, where that leaves bytecode that is not there yet.

    This process does so once. It takes what a first build would take. Where it fails, builds go on, each slower.
    """
    if not wanted():
        return
    log.info("what builds import is compiled, which is done once")
    environment = {"PATH": os.defpath, "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    try:
        subprocess.run(
            [sys.executable, "-I", "-c", _PROGRAM],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        log.warning("what builds import was not compiled within %g s", SECONDS)


def wanted() -> bool:
    """Whether Keras has no bytecode here and could have some."""
    spec = importlib.util.find_spec("keras")
    if spec is None or spec.origin is None:
        return False
    compiled = Path(importlib.util.cache_from_source(str(Path(spec.origin).parent / "src" / "export" / "__init__.py")))
    nearest = next(path for path in compiled.parents if path.is_dir())
    return not compiled.exists() and os.access(nearest, os.W_OK)
