"""Rows as JSON gives them, checked against a model's signature; and single tensors, whose dtype JSON must tell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ml.signature import Signature, TensorSpec
from ml.tensors.issues import MOST, TensorIssues
from ml.tensors.nesting import Ragged, flatten, infer_shape
from ml.tensors.stored import MOST_AXES
from ml.tensors.values import Array, ValueIssue, array_from_values, describe


def parse_instances(instances: Any, signature: Signature, place: str = "instances") -> dict[str, Array]:
    """The batch that a list of rows means: every input by name, shape (rows, *row shape).

    A row is a nested list, or an object by input name. All rows share the lengths of free dimensions. Raises
    TensorIssues, keyed by row and input.
    """
    if not isinstance(instances, list):
        raise TensorIssues({place: f"expected a list of rows, got {describe(instances)}"})
    if not instances:
        raise TensorIssues({place: "expected one row or more, got an empty list"})
    issues: dict[str, str] = {}
    columns = _columns(instances, signature, place, issues)
    arrays = {}
    for spec in signature.inputs:
        if len(columns[spec.name]) == len(instances):
            arrays[spec.name] = _column(columns[spec.name], spec, place, len(signature.inputs) > 1, issues)
    if issues:
        raise TensorIssues(dict(list(issues.items())[:MOST]))
    return arrays


def _columns(instances: list[Any], signature: Signature, place: str, issues: dict[str, str]) -> dict[str, list[Any]]:
    names = [spec.name for spec in signature.inputs]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for index, row in enumerate(instances):
        if len(issues) >= MOST:
            break
        here = f"{place}[{index}]"
        if not isinstance(row, dict):
            if len(names) > 1:
                issues[here] = f"expected an object with {', '.join(names)}, got {describe(row)}"
            else:
                columns[names[0]].append(row)
            continue
        for name in row.keys() - columns.keys():
            issues[f"{here}.{name}"] = f"no such input; the model takes {', '.join(names)}"
        for name in names:
            if name in row:
                columns[name].append(row[name])
            else:
                spec = next(spec for spec in signature.inputs if spec.name == name)
                issues[f"{here}.{name}"] = f"expected {spec}, got nothing"
    return columns


def _column(rows: list[Any], spec: TensorSpec, place: str, named: bool, issues: dict[str, str]) -> Array:
    flat: list[Any] = []
    shape: tuple[int | None, ...] = spec.shape
    suffix = f".{spec.name}" if named else ""
    fine = True
    for index, row in enumerate(rows):
        try:
            values, shape = flatten(row, shape)
        except Ragged as error:
            issues[f"{place}[{index}]{suffix}"] = f"{spec.name} expected {spec}: {error}"
            fine = False
            if len(issues) >= MOST:
                break
        else:
            flat += values
    if not fine:
        return np.empty(0)
    size = math.prod(n or 1 for n in shape)
    try:
        array = array_from_values(flat, spec.dtype, integral_floats=True)
    except ValueIssue as error:
        row_index, inner = divmod(error.index, size) if error.index is not None and size else (None, 0)
        where = "" if row_index is None else f"[{row_index}]"
        at = "" if row_index is None else f"at {_index(inner, shape)}: "
        issues[f"{place}{where}{suffix}"] = f"{spec.name} expected {spec}: {at if shape else ''}{error}"
        return np.empty(0)
    return array.reshape(len(rows), *(n or 1 for n in shape))


def infer_json(value: Any, place: str) -> Array:
    """One tensor from a nested list (or a single value) whose dtype its values tell: INT64, FP64, BOOL or BYTES.

    Raises TensorIssues.
    """
    shape = infer_shape(value)
    if 0 in shape:
        raise TensorIssues({place: "expected lists of one or more, got an empty list"})
    if len(shape) > MOST_AXES:
        raise TensorIssues({place: f"expected at most {MOST_AXES} axes, got more"})
    try:
        flat, shape = flatten(value, shape)
    except Ragged as error:
        raise TensorIssues({place: f"ragged: {error}"}) from None
    first = flat[0]
    dtype = "BOOL" if isinstance(first, bool) else "BYTES" if isinstance(first, str) else "FP64"
    if dtype == "FP64" and set(map(type, flat)) == {int}:
        dtype = "INT64"
    try:
        return array_from_values(flat, dtype, integral_floats=False).reshape(shape)
    except ValueIssue as error:
        at = f"at {_index(error.index, shape)}: " if error.index is not None and shape else ""
        raise TensorIssues({place: f"{at}{error}"}) from None


def _index(flat: int, shape: tuple[int | None, ...]) -> str:
    indices = np.unravel_index(flat, tuple(n or 1 for n in shape)) if shape else ()
    return "".join(f"[{int(i)}]" for i in indices)
