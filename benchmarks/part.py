"""What every part of the benchmarks does around its measuring: a directory for it, and a file of what was found."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
from pymongo.errors import PyMongoError

#: What ends the command with one line; anything else is a mistake of the benchmarks.
FAILURES = (RuntimeError, OSError, subprocess.SubprocessError, psutil.Error, PyMongoError)

T = TypeVar("T")


def carried_out(measure: Callable[..., T], *given: Any) -> T:
    """What is found with these options; ends the program where something answers otherwise than it should."""
    with tempfile.TemporaryDirectory(prefix="almanac-bench-") as directory:
        try:
            return measure(*given, Path(directory))
        except FAILURES as error:
            sys.exit(f"make bench: {error}")


def keep(file: Path | None, about: Any, **found: Any) -> None:
    """Write every single measurement to the file that was asked for."""
    if file is not None:
        file.write_text(json.dumps({"machine": about, **found}, indent=1) + "\n")
