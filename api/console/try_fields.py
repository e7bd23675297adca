"""The fields of a form that makes a row for a model: a canvas, a file, a table of numbers, texts, or JSON."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ml.service import Signature, TensorSpec

#: How a value is made: drawn, typed number by number, typed as text, written as JSON, or sent as a file.
Kind = Literal["draw", "image", "table", "json"]

#: An input of more values is no table that people fill in.
MOST_CELLS = 64
#: Sides of what can be drawn, in pixels.
LEAST_SIDE, MOST_SIDE = 4, 128
#: A flat input of so many values or more may be a square picture: 14 by 14.
LEAST_FLAT = 196
#: Channels that images have.
CHANNELS = (1, 3, 4)
#: A larger row is not written into a form to begin with.
MOST_EXAMPLE = 4096


@dataclass(slots=True)
class Cell:
    """One number, text or truth value of a table."""

    name: str
    label: str
    value: str = ""


@dataclass(slots=True)
class InputField:
    """How one input of a model is filled in."""

    number: int
    spec: TensorSpec
    kind: Kind
    #: Whether it may be sent as a file: only where it is the sole one.
    file: bool = False
    #: What is drawn: rows and columns.
    height: int = 0
    width: int = 0
    cells: list[Cell] = field(default_factory=list)
    #: The value as JSON.
    text: str = ""
    errors: list[str] = field(default_factory=list)

    @property
    def json_name(self) -> str:
        return f"v.{self.number}"

    @property
    def dtype(self) -> Literal["text", "truth", "whole", "number"]:
        kinds: dict[str, Any] = {"O": "text", "b": "truth", "i": "whole", "u": "whole"}
        found: Literal["text", "truth", "whole", "number"] = kinds.get(self.spec.numpy_dtype.kind, "number")
        return found

    @property
    def shape(self) -> list[int]:
        """The shape of one row; a free dimension is one long."""
        return [length or 1 for length in self.spec.shape]


class Incomplete(ValueError):
    """What was filled in is no row; the message says why."""


def fields_of(signature: Signature) -> list[InputField]:
    """A field for each input, empty."""
    sole = len(signature.inputs) == 1
    return [_field(number, spec, sole) for number, spec in enumerate(signature.inputs)]


def _field(number: int, spec: TensorSpec, sole: bool) -> InputField:
    found = InputField(number, spec, "json")
    size = picture_size(spec)
    if size is not None and found.dtype in ("number", "whole"):
        found.kind, (found.height, found.width) = "draw", size
        # The API reads images for inputs that are one, and an image is one row.
        found.file = sole and len(spec.shape) in (2, 3) and (len(spec.shape) == 2 or spec.shape[2] == 1)
    elif len(spec.shape) == 3 and spec.shape[2] in CHANNELS and found.dtype in ("number", "whole") and sole:
        found.kind, found.file = "image", True
    elif None not in spec.shape and math.prod(found.shape) <= MOST_CELLS:
        found.kind = "table"
        places = list(itertools.product(*(range(length) for length in found.shape)))
        found.cells = [Cell(f"x.{number}.{index}", _label(spec, place)) for index, place in enumerate(places)]
    return found


def picture_size(spec: TensorSpec) -> tuple[int, int] | None:
    """Rows and columns of what can be drawn for an input; None where it is no small picture of one channel."""
    shape = list(spec.shape)
    if len(shape) == 3 and shape[2] == 1:
        shape.pop(2)
    elif len(shape) == 3 and shape[0] == 1:
        shape.pop(0)
    elif len(shape) == 1 and shape[0] is not None and shape[0] >= LEAST_FLAT and math.isqrt(shape[0]) ** 2 == shape[0]:
        shape = [math.isqrt(shape[0])] * 2
    if len(shape) != 2 or any(length is None or not LEAST_SIDE <= length <= MOST_SIDE for length in shape):
        return None
    return shape[0] or 0, shape[1] or 0


def fill(found: Sequence[InputField], row: Any) -> None:
    """Put a row in the form of predict into empty fields, as far as it fits."""
    for one in found:
        value = row if len(found) == 1 else row.get(one.spec.name) if isinstance(row, Mapping) else None
        if value is None or (isinstance(value, Mapping) and "shape" in value):
            continue  # not there, or so long that it is only described
        flat = flattened(value)
        if one.kind == "table" and len(flat) == len(one.cells):
            for cell, item in zip(one.cells, flat, strict=True):
                cell.value = shown(item)
        elif one.kind == "json" and len(flat) <= MOST_EXAMPLE:
            one.text = json.dumps(value)


def typed(found: Sequence[InputField], form: Mapping[str, str]) -> None:
    """Put what a form holds into its fields."""
    for one in found:
        one.text = form.get(one.json_name, "").replace("\r\n", "\n").strip()
        for cell in one.cells:
            cell.value = form.get(cell.name, "")


def row_of(found: Sequence[InputField]) -> Any:
    """The row that is filled in, as predict takes it. Raises Incomplete after it was noted at each field."""
    values = {}
    for one in found:
        try:
            values[one.spec.name] = _value(one)
        except Incomplete as error:
            one.errors.append(str(error))
    wrong = [one for one in found if one.errors]
    if wrong:
        raise Incomplete("What you filled in is not complete.")
    return next(iter(values.values())) if len(values) == 1 else values


def _value(one: InputField) -> Any:
    if one.kind != "table":
        if not one.text:
            need = {"draw": "draw something, or choose an image", "image": "choose an image"}
            raise Incomplete(need.get(one.kind, "expected the value as JSON, got nothing"))
        try:
            return json.loads(one.text)
        except (ValueError, RecursionError) as error:
            raise Incomplete(f"this is not JSON: {error}") from None
    values: list[Any] = []
    #: What is wrong, with the cells of which that is so.
    wrong: dict[str, list[str]] = {}
    for cell in one.cells:
        try:
            values.append(_cell(one, cell))
        except Incomplete as error:
            wrong.setdefault(str(error), []).append(cell.label)
    if wrong:
        raise Incomplete("; ".join(f"{', '.join(cells)}: {reason}" for reason, cells in wrong.items()))
    return nested(values, one.shape)


def _cell(one: InputField, cell: Cell) -> Any:
    text = cell.value.strip()
    if one.dtype == "text":
        return cell.value
    if one.dtype == "truth":
        return bool(text)
    # As people in many countries write it.
    text = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    try:
        number: int | float = int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise Incomplete(f"expected a number, got {text[:40] or 'nothing'}") from None
    if not math.isfinite(number):
        raise Incomplete(f"expected a finite number, got {text[:40]}")
    return number


def nested(flat: Sequence[Any], shape: Sequence[int]) -> Any:
    """Values as nested lists of this shape; one value where it is empty."""
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return list(flat)
    step = len(flat) // shape[0]
    return [nested(flat[start : start + step], shape[1:]) for start in range(0, len(flat), step)]


def flattened(value: Any) -> list[Any]:
    """All values of nested lists, in order."""
    return [item for part in value for item in flattened(part)] if isinstance(value, list) else [value]


def shown(value: Any) -> str:
    """A value as it stands in a field."""
    if isinstance(value, bool):
        return "true" if value else ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def _label(spec: TensorSpec, place: Sequence[int]) -> str:
    return spec.name + "".join(f"[{index}]" for index in place)
