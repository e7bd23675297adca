"""What a schema allows, in a few words for a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: Schemas that have a name of their own in prose.
NAMES = {
    "ObjectId": "id",
    "FreeValue": "any JSON",
    "FreeObject": "object",
    "Tensor": "tensor",
    "TensorValues": "tensor",
    "PackedTensor": "tensor",
    "TensorOutline": "its dtype and shape",
    "Instance": "row",
    "PredictionOutput": "tensor, or object of tensors",
}


def type_of(schema: Mapping[str, Any]) -> str:
    """What a value of this schema is."""
    if "$ref" in schema:
        name = last_part(schema["$ref"])
        return NAMES.get(name, re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    if "const" in schema:
        return code(str(schema["const"]))
    if "enum" in schema:
        return " ".join(code("null" if value is None else str(value)) for value in schema["enum"])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(dict.fromkeys(map(type_of, schema[union])))
    kinds = schema.get("type", "any JSON")
    return " or ".join(_kind(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def last_part(reference: str) -> str:
    """The name of a component that is referred to."""
    return reference.rpartition("/")[2]


def code(text: str) -> str:
    """As Markdown shows what is to be written so."""
    return f"`{text}`"


def _kind(kind: str, schema: Mapping[str, Any]) -> str:
    if kind == "array":
        inner = type_of(schema["items"]) if schema.get("items") else ""
        return f"list of {f'({inner})' if ' or ' in inner else inner}" if inner else "list"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"object of {type_of(values)}" if isinstance(values, dict) and values else "object"
    if kind == "string":
        named = {"date-time": "time", "binary": "file"}.get(schema.get("format", ""))
        return named or ("JSON" if "contentSchema" in schema else "string")
    if kind in ("integer", "number"):
        low, high = schema.get("minimum"), schema.get("maximum")
        word = "whole number" if kind == "integer" else "number"
        if low is not None and high is not None:
            return f"{word}, {_number(low)} to {_number(high)}"
        return f"{word} from {_number(low)}" if low is not None else word
    return kind


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:f}".rstrip("0")
