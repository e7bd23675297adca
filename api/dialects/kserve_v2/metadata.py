"""What v2 says of the server, of models, of the repository and of what was counted, made of what is known here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from api.predict_request import MOST_ROWS
from ml.service import Signature, TensorSpec, Totals, Version

#: By executor. Keras has no name among the platforms of the protocol.
PLATFORMS = {"onnx": "onnxruntime_onnx", "openvino": "openvino"}
PLATFORM = "tensorflow_savedmodel"

#: A version's state as a repository's index has it; those that are not here are not listed.
STATES = {"available": "READY", "loading": "LOADING", "failed": "UNAVAILABLE"}

EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "parameters", "statistics")


def metadata(version: Version, available: Iterable[int]) -> dict[str, Any]:
    """A model's metadata; `available` are the versions that can be asked."""
    signature = Signature.from_document(version.document)
    return {
        "name": version.name,
        "versions": [str(number) for number in sorted(available)],
        "platform": _platform(version),
        "inputs": [_tensor(spec) for spec in signature.inputs],
        "outputs": [_tensor(spec) for spec in signature.outputs],
    }


def config(version: Version, max_batch: int) -> dict[str, Any]:
    """A model's configuration as Triton would have it; `max_batch` rows are computed at once."""
    signature = Signature.from_document(version.document)
    window = round(version.batch_window * 1_000_000)
    return {
        "name": version.name,
        "platform": _platform(version),
        "backend": version.document.get("executor") or "",
        "version_policy": {"specific": {"versions": [version.number]}},
        "max_batch_size": MOST_ROWS,
        "input": [_typed(spec) for spec in signature.inputs],
        "output": [_typed(spec) for spec in signature.outputs],
        "dynamic_batching": {"preferred_batch_size": [max_batch], "max_queue_delay_microseconds": window},
    }


def index(versions: Iterable[Version], ready: bool) -> list[dict[str, str]]:
    """The repository's index; with `ready` only of what is."""
    return [
        {"name": version.name, "version": str(version.number), "state": state, "reason": version.error or ""}
        for version in versions
        if (state := STATES.get(version.state)) and (state == "READY" or not ready)
    ]


def statistics(version: Version, totals: Totals) -> dict[str, Any]:
    """What was counted of a version. A row that was computed among n is the n-th part of a call."""
    by_batch = totals.by_batch
    rows = sum(sums.rows - sums.failed for sums in by_batch.values())
    failed = sum(sums.failed for sums in by_batch.values())
    calls = {batch: max(1, round(sums.rows / batch)) for batch, sums in by_batch.items() if batch}
    queue, compute = (sum(getattr(sums, f"{kind}_ms") for sums in by_batch.values()) for kind in ("queue", "compute"))
    return {
        "name": version.name,
        "version": str(version.number),
        "last_inference": round(totals.last.timestamp() * 1000) if totals.last else 0,
        "inference_count": rows,
        "execution_count": sum(calls.values()),
        "inference_stats": {
            "success": _counted(rows, queue + compute),
            "fail": _counted(failed),
            "queue": _counted(rows + failed, queue),
            "compute_input": _counted(rows + failed),
            "compute_infer": _counted(rows + failed, compute),
            "compute_output": _counted(rows + failed),
            "cache_hit": _counted(0),
            "cache_miss": _counted(0),
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": batch,
                "compute_input": _counted(count),
                "compute_infer": _counted(count, by_batch[batch].compute_ms / batch),
                "compute_output": _counted(count),
            }
            for batch, count in sorted(calls.items())
        ],
        "memory_usage": [],
    }


def _counted(count: int, ms: float = 0.0) -> dict[str, int]:
    return {"count": count, "ns": round(ms * 1_000_000)}


def _platform(version: Version) -> str:
    return PLATFORMS.get(version.document.get("executor") or "", PLATFORM)


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.dtype, "shape": [-1, *_dims(spec)]}


def _typed(spec: TensorSpec) -> dict[str, Any]:
    kind = "STRING" if spec.dtype == "BYTES" else spec.dtype
    return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": _dims(spec)}


def _dims(spec: TensorSpec) -> list[int]:
    return [-1 if length is None else length for length in spec.shape]
