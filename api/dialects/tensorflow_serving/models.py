"""What TensorFlow Serving says of a model: the states of its versions, and its signature, as protobuf writes JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from api.dialects.tensorflow_serving.bodies import SIGNATURE
from api.dialects.tensorflow_serving.values import tensorflow_dtype
from ml.service import Signature, TensorSpec

#: Our states as its. What is retired or failed is where no version comes back from.
STATES = {"loading": "LOADING", "available": "AVAILABLE", "failed": "END", "retired": "END"}


def status_of(versions: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The states of versions, given as their documents, the newest first."""
    newest = sorted(versions, key=lambda document: document["version"], reverse=True)
    return {"model_version_status": [_version_status(document) for document in newest]}


def _version_status(document: Mapping[str, Any]) -> dict[str, Any]:
    failed = document["state"] == "failed"
    return {
        "version": str(document["version"]),  # 64 bits are a string in protobuf's JSON
        "state": STATES.get(document["state"], "UNKNOWN"),
        "status": {
            "error_code": "UNKNOWN" if failed else "OK",
            "error_message": str(document.get("error") or "") if failed else "",
        },
    }


def metadata_of(name: str, version: int, signature: Signature) -> dict[str, Any]:
    """A version's one signature."""
    inputs = {spec.name: _tensor_info(spec, f"{SIGNATURE}_{spec.name}:0") for spec in signature.inputs}
    outputs = {
        spec.name: _tensor_info(spec, f"StatefulPartitionedCall:{index}")
        for index, spec in enumerate(signature.outputs)
    }
    signature_def = {"inputs": inputs, "outputs": outputs, "method_name": "tensorflow/serving/predict"}
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature_def}}},
    }


def _tensor_info(spec: TensorSpec, name: str) -> dict[str, Any]:
    sizes = [-1, *(-1 if length is None else length for length in spec.shape)]
    return {
        "dtype": tensorflow_dtype(spec.dtype),
        "tensor_shape": {"dim": [{"size": str(size), "name": ""} for size in sizes], "unknown_rank": False},
        "name": name,
    }
