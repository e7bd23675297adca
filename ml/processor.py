"""What of this processor matters to the runtimes: an artefact is proven and timed with it."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
#: Instructions for which ONNX Runtime, OpenVINO and TensorFlow have code of their own, as /proc/cpuinfo names them.
FEATURES = frozenset(
    """sse4_1 sse4_2 avx f16c fma avx2 avx512f avx512bw avx512vl avx512dq avx512_vnni avx512_bf16 avx512_fp16 avx_vnni
    amx_tile amx_int8 amx_bf16 asimd asimdhp asimddp sve sve2 bf16 i8mm""".split()
)


@functools.cache
def here() -> dict[str, Any]:
    """This machine's, as documents have it: `machine` (such as x86_64) and its `features`, sorted."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        lines = []
    # x86 says flags, arm64 Features; all cores alike.
    words = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return {"machine": platform.machine(), "features": sorted(FEATURES.intersection(words))}


def fits(needed: object, available: Mapping[str, Any]) -> bool:
    """Whether what was made on the processor `needed` runs the same way on `available`.

    That is so where nothing is missing: the same machine, and every feature. Nothing written down needs nothing.
    """
    if not isinstance(needed, Mapping):
        return True
    return needed.get("machine") == available["machine"] and set(needed.get("features", ())) <= set(
        available["features"]
    )


def not_fitting(available: Mapping[str, Any]) -> dict[str, Any]:
    """A filter over `models`: available versions of which nothing was made, or tried, that fits `available`."""
    none_missing = {"$not": {"$elemMatch": {"$nin": list(available["features"])}}}
    fitting = {"machine": available["machine"], "features": none_missing}
    return {
        "state": "available",
        "file": {"$exists": True},
        "build.processor": {"$exists": True},
        "$nor": [
            {f"build.processor.{key}": value for key, value in fitting.items()},
            {"elsewhere": {"$elemMatch": {f"processor.{key}": value for key, value in fitting.items()}}},
        ],
    }
