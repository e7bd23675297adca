"""What a v2 inference request asks for: a JSON header, and perhaps the tensors' bytes behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.dialects.kserve_v2.described import LENGTH
from api.errors import ApiError
from api.predict_request import MAX_TIMEOUT_MS, Fields
from api.render import dumps, loads
from api.validation import free_form_problem
from ml.service import Signature, TensorSpec
from ml.tensors import TensorIssues, array_of, from_raw, read_named, shape_of
from ml.tensors.values import Array, ValueIssue, describe

#: Parameters that have a meaning in the protocol. All others are the client's own, and kept with the results.
RESERVED = frozenset(
    {"sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers", "binary_data_output"}
)
#: Of these as JSON: each row's result has them.
MOST_OWN_BYTES = 4096
SHARED_MEMORY = "shared_memory_region"


@dataclass(slots=True)
class Wanted:
    """How an output is to be answered: as bytes or as JSON, its values or its so many best classes (0: values)."""

    name: str
    binary: bool
    classes: int = 0


@dataclass(slots=True)
class Asked:
    """An inference request that fits the model."""

    arrays: dict[str, Array]
    id: str | None = None
    #: None: all outputs, as `binary` says.
    outputs: list[Wanted] | None = None
    binary: bool = False
    timeout_ms: int | None = None
    #: The client's own parameters.
    own: dict[str, Any] = field(default_factory=dict)

    @property
    def wants_classes(self) -> bool:
        return any(output.classes for output in self.outputs or ())

    def fields(self) -> Fields:
        """The same for ml.service.Prediction."""
        rows = len(next(iter(self.arrays.values())))
        return {
            "arrays": self.arrays,
            "outputs": [output.name for output in self.outputs] if self.outputs is not None else None,
            "timeout_ms": self.timeout_ms,
            "meta": [self.own] * rows if self.own else None,
        }


def read_asked(data: bytes, announced: str | None, signature: Signature) -> Asked:
    """The request in a body; `announced` is its header LENGTH. Raises ApiError and TensorIssues."""
    if announced is None:
        return _asked(_document(data), data, len(data), signature)
    if not (announced.isascii() and announced.isdigit() and len(announced) < 19 and int(announced) <= len(data)):
        raise ApiError(400, f"{LENGTH}: expected 0 to {len(data)}, the length of the body, got {announced[:100]!r}")
    length = int(announced)
    if length == 0:
        return _raw(data, signature)
    return _asked(_document(data[:length]), data, length, signature)


def _document(data: bytes) -> dict[str, Any]:
    plain = read_named(data)
    if plain is not None:
        return plain
    try:
        found = loads(data)
    except ValueError as error:
        raise ApiError(422, f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ApiError(422, f"expected a JSON object, got {describe(found)}")
    return found


def _asked(document: Mapping[str, Any], data: bytes, start: int, signature: Signature) -> Asked:
    """The request of such a JSON, with the bytes of tensors from `start` on."""
    issues: dict[str, str] = {}
    id_ = document.get("id")
    if id_ is not None and not isinstance(id_, str):
        issues["id"] = f"expected a string, got {describe(id_)}"
    asked = Asked({}, id_ or None)
    _read_parameters(document.get("parameters"), asked, issues)
    _read_outputs(document.get("outputs"), asked, signature, issues)
    if issues:
        raise ApiError(422, "the request does not fit", issues)
    asked.arrays = _arrays(document.get("inputs"), data, start, signature)
    return asked


def _read_parameters(given: Any, asked: Asked, issues: dict[str, str]) -> None:
    parameters = _parameters(given, "parameters", issues)
    if not parameters:
        return
    asked.binary = _flag(parameters, "binary_data_output", "parameters", issues)
    if any(parameters.get(name) for name in ("sequence_id", "sequence_start", "sequence_end")):
        issues["parameters.sequence_id"] = "models here keep nothing from one request to the next"
    timeout = parameters.get("timeout", 0)
    if type(timeout) is not int or timeout < 0:
        issues["parameters.timeout"] = f"expected a whole number of microseconds, got {describe(timeout)}"
    elif timeout:
        asked.timeout_ms = min(MAX_TIMEOUT_MS, math.ceil(timeout / 1000))
    # Others may mean something to another server: what cannot be kept under its name is no reason to refuse.
    asked.own = {
        name: value
        for name, value in parameters.items()
        if name not in RESERVED and name[:7] != "triton_" and free_form_problem({name: value}) is None
    }
    if asked.own and len(dumps(asked.own)) > MOST_OWN_BYTES:
        issues["parameters"] = f"expected at most {MOST_OWN_BYTES} bytes of parameters of your own"


def _read_outputs(given: Any, asked: Asked, signature: Signature, issues: dict[str, str]) -> None:
    if given is None or given == []:
        return
    if not isinstance(given, list) or not all(isinstance(output, dict) for output in given):
        issues["outputs"] = f"expected a list of objects, got {describe(given)}"
        return
    there = [spec.name for spec in signature.outputs]
    asked.outputs = []
    for index, output in enumerate(given):
        place, name = f"outputs[{index}]", output.get("name")
        if name not in there:
            issues[f"{place}.name"] = f"expected one of {', '.join(there)}, got {describe(name)}"
            continue
        if any(name == other.name for other in asked.outputs):
            issues[f"{place}.name"] = f"{name} is asked for twice"
            continue
        parameters = _parameters(output.get("parameters"), f"{place}.parameters", issues)
        binary = asked.binary
        if "binary_data" in parameters:
            binary = _flag(parameters, "binary_data", f"{place}.parameters", issues)
        classes = parameters.get("classification", 0)
        if type(classes) is not int or classes < 0:
            issues[f"{place}.parameters.classification"] = f"expected a whole number, got {describe(classes)}"
        elif classes and next(spec for spec in signature.outputs if spec.name == name).dtype == "BYTES":
            issues[f"{place}.parameters.classification"] = f"{name} is BYTES, which has no best classes"
        asked.outputs.append(Wanted(name, binary, classes))


def _parameters(given: Any, place: str, issues: dict[str, str]) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        issues[place] = f"expected an object, got {describe(given)}"
        return {}
    for name, value in given.items():
        if not isinstance(value, (str, int, float)):
            issues[f"{place}.{name}"] = f"expected a string, number or boolean, got {describe(value)}"
    if given.get(SHARED_MEMORY) is not None:
        issues[f"{place}.{SHARED_MEMORY}"] = "this server shares no memory with its clients"
    return given


def _flag(parameters: Mapping[str, Any], name: str, place: str, issues: dict[str, str]) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        issues[f"{place}.{name}"] = f"expected true or false, got {describe(value)}"
        return False
    return value


def _arrays(given: Any, data: bytes, start: int, signature: Signature) -> dict[str, Array]:
    """Every input by name, in the signature's order."""
    if not isinstance(given, list) or not given or not all(isinstance(tensor, dict) for tensor in given):
        raise TensorIssues({"inputs": f"expected a list of tensors, got {describe(given)}"})
    specs = {spec.name: spec for spec in signature.inputs}
    found: dict[str, Array] = {}
    issues: dict[str, str] = {}
    for index, tensor in enumerate(given):
        name = tensor.get("name")
        place = f"inputs[{index}]"
        if name not in specs:
            issues[f"{place}.name"] = f"no such input: expected {', '.join(specs)}, got {describe(name)}"
        elif name in found:
            issues[f"{place}.name"] = f"{name} is there twice"
        else:
            try:
                found[name], start = _array(tensor, specs[name], data, start)
            except ValueIssue as error:
                issues[place] = f"{name}: {error}"
                break  # where the next tensor's bytes begin is not known
    for name, spec in specs.items():
        if name not in found and not issues:
            issues["inputs"] = f"expected {name}, which is {spec}"
    lengths = {name: len(array) for name, array in found.items()}
    if len(set(lengths.values())) > 1:
        issues["inputs"] = f"expected as many rows in every input, got {lengths}"
    if not issues and start != len(data):
        issues["body"] = f"{len(data) - start} bytes are left after the last tensor"
    if issues:
        raise TensorIssues(issues)
    return {name: found[name] for name in specs}


def _array(tensor: Mapping[str, Any], spec: TensorSpec, data: bytes, start: int) -> tuple[Array, int]:
    """A tensor, and where the bytes of the next begin. Raises ValueIssue."""
    if tensor.get("datatype") != spec.dtype:
        raise ValueIssue(f"expected datatype {spec.dtype}, got {describe(tensor.get('datatype'))}")
    shape = shape_of(tensor, spec)
    issues: dict[str, str] = {}
    parameters = _parameters(tensor.get("parameters"), "parameters", issues)
    if issues:
        raise ValueIssue("; ".join(f"{place}: {reason}" for place, reason in issues.items()))
    if "binary_data_size" not in parameters:
        return array_of(tensor.get("data"), spec, shape), start
    size = parameters["binary_data_size"]
    if type(size) is not int or size < 0 or start + size > len(data):
        raise ValueIssue(f"expected binary_data_size to be 0 to {len(data) - start}, got {describe(size)}")
    if "data" in tensor:
        raise ValueIssue("expected data or binary_data_size, got both")
    return from_raw(data, spec.dtype, shape, start, size), start + size


def _raw(data: bytes, signature: Signature) -> Asked:
    """A body that is the bytes of the sole input and nothing else: one row, whose only free dimension its size tells.

    Bytes for a BYTES input are its one element.
    """
    spec = signature.inputs[0]
    if len(signature.inputs) > 1:
        names = ", ".join(other.name for other in signature.inputs)
        raise ApiError(422, f"{LENGTH}: 0 is for models with one input; this takes {names}")
    free = spec.shape.count(None)
    fixed = math.prod(length for length in spec.shape if length is not None)
    if spec.dtype == "BYTES":
        if fixed != 1:
            raise TensorIssues({"body": f"{spec.name} is {spec}: one element cannot be it"})
        array: Array = from_raw(len(data).to_bytes(4, "little") + data, "BYTES", [1], 0, len(data) + 4)
        return Asked({spec.name: array.reshape(1, *(n or 1 for n in spec.shape))}, binary=True)
    if free > 1:
        raise TensorIssues({"body": f"{spec.name} is {spec}: its size does not tell its shape"})
    length = len(data) // (fixed * spec.numpy_dtype.itemsize) if free else 1
    shape = [1, *(length if n is None else n for n in spec.shape)]
    if 0 in shape:
        raise TensorIssues({"body": f"{spec.name} expected {spec}, got {len(data)} bytes"})
    try:
        return Asked({spec.name: from_raw(data, spec.dtype, shape, 0, len(data))}, binary=True)
    except ValueIssue as error:
        raise TensorIssues({"body": f"{spec.name}: {error}"}) from None
