"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pymongo import MongoClient

PROC = Path("/proc")
PACKAGES = ("numpy", "onnxruntime", "openvino", "tensorflow", "granian", "gunicorn", "pymongo")


def describe(data: Path, threads: int) -> dict[str, Any]:
    """The machine and the versions; MongoDB is asked for its own, so it must run on the data directory."""
    with MongoClient((data / "mongo.uri").read_text().strip()) as client:
        mongodb = client.server_info()["version"]
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "filesystem": _filesystem(data),
        "threads": threads,
        "versions": {
            "Python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
            "MongoDB": mongodb,
        },
    }


def in_a_line(about: dict[str, Any]) -> str:
    """The same for the end of a table."""
    return f"{about['cpu']}, {about['cores']} cores; {versions(about)}"


def versions(about: dict[str, Any]) -> str:
    """Of all that matters, with its name."""
    return ", ".join(f"{name} {number}" for name, number in about["versions"].items())


def _cpu() -> str:
    for line in (PROC / "cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _filesystem(path: Path) -> str:
    """The kind of the file system that `path` is on: on a tmpfs a durable commit costs nothing."""
    best, kind = "", "unknown"
    for line in (PROC / "self/mounts").read_text().splitlines():
        _, mounted, found, *_ = line.split()
        if path.resolve().is_relative_to(mounted) and len(mounted) >= len(best):
            best, kind = mounted, found
    return kind
