"""Predict's tensors: rows (`instances`) or columns (`inputs`) of JSON as a batch, and outputs as JSON again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from api.dialects.tensorflow_serving.bodies import SIGNATURE, check_signature, invalid, parse
from api.dialects.tensorflow_serving.values import LARGEST_WHOLE, array_of, dump, is_b64, shown, with_bytes
from api.errors import ApiError
from ml.service import Signature, TensorSpec
from ml.tensors import read_body
from ml.tensors.nesting import Ragged, flatten
from ml.tensors.values import Array, ValueIssue

Form = Literal["instances", "inputs"]
FORMS = frozenset({"instances", "inputs"})

_ELSE = "as multiple input tensors required as per tensorinfo_map"


@dataclass(slots=True)
class Batch:
    """Every input by name, first axis the rows, and whether it came as rows or as columns."""

    arrays: dict[str, Array]
    form: Form


def read_batch(data: bytes, signature: Signature) -> Batch:
    """What the body of a predict request holds. Raises a 400 that says what does not fit, and where."""
    batch = plain_batch(data, signature)
    if batch is not None:
        return batch
    body = parse(data)
    check_signature(body, "predict")
    if "instances" in body and "inputs" in body:
        came = shown(body)
        raise invalid(
            f"JSON Value: {came} Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if "instances" in body:
        return Batch(_rows(body, signature), "instances")
    if "inputs" in body:
        return Batch(_columns(body["inputs"], signature), "inputs")
    raise invalid("Missing 'inputs' or 'instances' key")


def plain_batch(data: bytes, signature: Signature) -> Batch | None:
    """The same for a body that is plainly right: one tensor of numbers, in nested lists. Else None."""
    form: Form = "instances" if b'"instances"' in data else "inputs"
    found = read_body(data, signature, form)
    if found is None:
        return None
    arrays, others = found
    if others and (others.get("signature_name", SIGNATURE) not in ("", SIGNATURE) or FORMS & others.keys()):
        return None
    spec = signature.inputs[0]
    largest = LARGEST_WHOLE.get(spec.dtype)
    if largest is not None:
        array = arrays[spec.name]
        if array.max() > largest or array.min() < -largest:
            return None  # whether it was written as a whole number is not to be seen any more
    return Batch(arrays, form)


def _rows(body: dict[str, Any], signature: Signature) -> dict[str, Array]:
    items = body["instances"]
    if not isinstance(items, list):
        raise invalid(f"JSON Value: {shown(body)} Excepting 'instances' to be an list/array")
    if not items:
        raise invalid(f"JSON Value: {shown(body)} No values in 'instances' array")
    specs = signature.inputs
    if not isinstance(items[0], dict) and len(specs) > 1:
        raise invalid(f"instances is a plain list, but expecting list of objects {_ELSE}")
    if not _is_object(items[0]):
        for index, item in enumerate(items):
            if _is_object(item):
                raise invalid(f"Expecting value/list but got object at item {index} of input list")
        return {specs[0].name: _stacked(items, specs[0], "")}
    _check_names(items, sorted(spec.name for spec in specs))
    return {spec.name: _stacked([item[spec.name] for item in items], spec, f" key: {spec.name}") for spec in specs}


def _check_names(items: Sequence[Any], names: Sequence[str]) -> None:
    for index, item in enumerate(items):
        if not _is_object(item):
            raise invalid(f"Expecting object but got list at item {index} of input list")
        unknown = next((name[:200] for name in item if name not in names), None)
        if unknown is not None:
            raise _element(index, f"JSON object: does not have named input: {unknown}", f" key: {unknown}")
        if len(item) < len(names):
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: {shown(item)} keys must be "
                f"equal to: {','.join(names)}"
            )


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_b64(value)


def _stacked(items: Sequence[Any], spec: TensorSpec, key: str) -> Array:
    """The batch that the values of an input make, a row each; they share the lengths of free dimensions."""
    flat: list[Any] = []
    shape: tuple[int | None, ...] = spec.shape
    for index, item in enumerate(items):
        try:
            values, shape = flatten(_readable(item, spec, len(shape)), shape)
        except (Ragged, ValueIssue) as error:
            raise _element(index, _why(error, spec), key) from None
        flat += values
    row = tuple(n or 1 for n in shape)
    try:
        return array_of(flat, spec.dtype).reshape(len(items), *row)
    except ValueIssue as error:
        raise _element((error.index or 0) // math.prod(row), _why(error, spec), key) from None


def _columns(value: Any, signature: Signature) -> dict[str, Array]:
    specs = signature.inputs
    if not _is_object(value):
        if len(specs) > 1:
            raise invalid(f"inputs is a plain value/list, but expecting an object {_ELSE}")
        return {specs[0].name: _column(value, specs[0])}
    for spec in specs:
        if spec.name not in value:
            raise invalid(f"Missing named input: {spec.name} in 'inputs' object.")
    arrays = {spec.name: _column(value[spec.name], spec) for spec in specs}
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) > 1:
        came = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise invalid(f"Batching Run() input tensors must have equal 0th-dimension size: {came}")
    return arrays


def _column(value: Any, spec: TensorSpec) -> Array:
    shape = (None, *spec.shape)
    try:
        flat, found = flatten(_readable(value, spec, len(shape)), shape)
        return array_of(flat, spec.dtype).reshape(found)
    except (Ragged, ValueIssue) as error:
        raise invalid(f"Failed to process key: {spec.name} of 'inputs'. Error: {_why(error, spec)}") from None


def _readable(value: Any, spec: TensorSpec, depth: int) -> Any:
    return with_bytes(value, depth) if spec.dtype == "BYTES" else value


def _why(error: Ragged | ValueIssue, spec: TensorSpec) -> str:
    return str(error) if isinstance(error, ValueIssue) else f"{spec.name} expected {spec}: {error}"


def _element(index: int, reason: str, key: str) -> ApiError:
    return invalid(f"Failed to process element: {index}{key} of 'instances' list. Error: INVALID_ARGUMENT: {reason}")


def predict_body(outputs: Mapping[str, Array], form: Form) -> bytes:
    """The answer to a predict request in the form in which it came; the name of a sole output is left out.

    Raises a 400 where rows are wanted of outputs that have not as many of them.
    """
    if form == "inputs":
        return b'{"outputs": ' + _named({name: dump(array, name) for name, array in outputs.items()}) + b"}\n"
    count: int | None = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if count not in (None, len(array)):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {count}")
        count = len(array)
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        rows = dump(array, name)
    else:
        rows = b"[%b]" % b", ".join(
            _named({name: dump(array[row, ...], name) for name, array in outputs.items()}) for row in range(count or 0)
        )
    return b'{"predictions": ' + rows + b"}\n"


def _named(values: Mapping[str, bytes]) -> bytes:
    if len(values) == 1:
        return next(iter(values.values()))
    return b"{%b}" % b", ".join(orjson.dumps(name) + b": " + value for name, value in values.items())
