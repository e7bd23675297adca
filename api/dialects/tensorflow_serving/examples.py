"""Classify and regress: examples of named features as a batch, and scores of classes, or numbers, as the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from api.dialects.tensorflow_serving.bodies import Method, check_signature, invalid, parse
from api.dialects.tensorflow_serving.values import array_of, dump, from_b64, is_b64, json_type, shown
from ml.service import Signature, TensorSpec
from ml.tensors.values import Array, ValueIssue

Example = dict[str, Any]


def read_examples(data: bytes, signature: Signature, method: Method) -> dict[str, Array]:
    """The batch of a classify or regress request: each feature, a flat list, in the shape of the input of its name.

    What `context` holds is every example's that does not say otherwise. A feature that is no input is ignored, as
    TensorFlow's parser of examples does. Raises a 400 that names the feature and the example.
    """
    body = parse(data)
    check_signature(body, method)
    context = _example(body.get("context", {}))
    if "examples" not in body:
        raise invalid(
            f"JSON Value: {shown(body)} When method is {method}, key 'examples' is expected and was not found"
        )
    examples = body["examples"]
    if not isinstance(examples, list):
        raise invalid(f"JSON Value: {shown(body)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"JSON Value: {shown(body)} 'examples' value is an empty array")
    merged = [{**context, **_example(example)} for example in examples]
    return {spec.name: _feature(merged, spec) for spec in signature.inputs}


def check_scores(signature: Signature, classes: Sequence[str] | None) -> None:
    """Refuse to classify with a model that has no classes which a sole output scores. Raises a 400."""
    if not classes or len(signature.outputs) != 1 or _width(signature.outputs[0], len(classes)) is None:
        raise _other("classify", "classification", "it has no classes that its one output scores")


def check_value(signature: Signature) -> None:
    """Refuse to regress with a model whose output is not one number a row. Raises a 400."""
    if len(signature.outputs) != 1 or _width(signature.outputs[0], 1) is None:
        raise _other("regress", "regression", "it does not give one number for each example")


def classify_body(scores: Array, classes: Sequence[str]) -> bytes:
    """The answer to a classify request: for each example every class with its score.

    A sole score is that of the second of two classes, and what it leaves of 1 is the first's.
    """
    flat = scores.reshape(len(scores), -1)
    if flat.shape[1] == 1 and len(classes) == 2:
        flat = np.concatenate([(1 - flat).astype(flat.dtype), flat], axis=1)
    if flat.shape[1] != len(classes):
        raise _other("classify", "classification", f"it gave {flat.shape[1]} scores for {len(classes)} classes")
    labels = [orjson.dumps(label) for label in classes]
    rows = (
        b", ".join(b"[%b, %b]" % pair for pair in zip(labels, dump(row, "")[1:-1].split(b","), strict=True))
        for row in flat
    )
    return b'{"results": [%b]}\n' % b", ".join(b"[%b]" % row for row in rows)


def regress_body(values: Array) -> bytes:
    """The answer to a regress request: a number for each example."""
    if values.size != len(values):
        raise _other("regress", "regression", f"it gave {values.size} numbers for {len(values)} examples")
    return b'{"results": ' + dump(values.reshape(-1), "") + b"}\n"


def _other(method: Method, kind: str, why: str) -> Exception:
    return invalid(
        f"Expected {kind} signature method_name to be tensorflow/serving/{method}. Was: tensorflow/serving/predict. "
        f"The model cannot {method}: {why}"
    )


def _width(spec: TensorSpec, classes: int) -> int | None:
    """How many numbers an output has a row, where that is right for so many classes, or not known; else None."""
    if spec.numpy_dtype.kind not in "iuf":
        return None
    if None in spec.shape:
        return -1
    width = math.prod(n or 1 for n in spec.shape)
    return width if width == classes or (width, classes) == (1, 2) else None


def _example(value: Any) -> Example:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {json_type(value)}")
    return value


def _feature(examples: Sequence[Example], spec: TensorSpec) -> Array:
    flat: list[Any] = []
    first: tuple[int, ...] | None = None
    for index, example in enumerate(examples):
        if spec.name not in example:
            raise invalid(f"Feature: {spec.name} ({spec}) is required but could not be found in example {index}.")
        values = _values(example[spec.name], spec, index)
        shape = _shape(len(values), spec)
        first = first or shape
        if shape is None or shape != first:
            expected = f"{spec}" + (f", as {list(first)} in example 0" if first else "")
            raise invalid(f"Feature: {spec.name} of example {index}: expected {expected}, got {len(values)} values")
        flat += values
    row = first or ()
    try:
        return array_of(flat, spec.dtype).reshape(len(examples), *row)
    except ValueIssue as error:
        index = (error.index or 0) // math.prod(row)
        raise invalid(f"Feature: {spec.name} of example {index}: {error}") from None


def _values(feature: Any, spec: TensorSpec, index: int) -> list[Any]:
    values = feature if isinstance(feature, list) else [feature]
    made = []
    for value in values:
        if value is None or isinstance(value, list) or (isinstance(value, dict) and not is_b64(value)):
            raise invalid(f"Feature: {spec.name} has element with unexpected JSON type: {json_type(value)}")
        if isinstance(value, dict) and spec.dtype == "BYTES":
            try:
                value = from_b64(value)
            except ValueIssue as error:
                raise invalid(f"Feature: {spec.name} of example {index}: {error}") from None
        # An Example has no booleans: they are whole numbers there.
        made.append(int(value) if isinstance(value, bool) and spec.numpy_dtype.kind in "iu" else value)
    return made


def _shape(count: int, spec: TensorSpec) -> tuple[int, ...] | None:
    """The shape of a row that has so many values; None where it has none, or could have several."""
    free = spec.shape.count(None)
    fixed = math.prod(n for n in spec.shape if n is not None)
    if not count or count % fixed or free > 1 or (not free and count != fixed):
        return None
    return tuple(count // fixed if n is None else n for n in spec.shape)
