"""A model's signature as JSON Schema: its rows as they can be sent, its outputs as they are answered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from api.openapi.describe import Schema, record
from api.openapi.predicting import OUTPUTS, prediction_schema, reply_schema, request_schemas
from ml.errors import ModelNotAvailable
from ml.service import Service, Signature, TensorSpec

PREDICT = "/api/v1/models/{name}/predict"
PREDICT_VERSION = "/api/v1/models/{name}/versions/{version}/predict"
PREDICT_ALIAS = "/api/v1/models/{name}/aliases/{alias}/predict"


@dataclass(frozen=True, slots=True)
class Facts:
    """All of a model's default version that its document tells."""

    name: str
    version: int
    signature: Signature
    classes: tuple[str, ...] = ()


def facts_of(service: Service, model: str) -> Facts:
    """Of the version that the bare name means. Raises UnknownModel, ModelNotAvailable or StorageUnavailable."""
    version = service.registry.find(model)
    if version.state != "available":
        raise ModelNotAvailable(f"{version} is {version.state}: what it takes is not known")
    classes = version.document.get("classes") or ()
    return Facts(version.name, version.number, Signature.from_document(version.document), tuple(classes))


def describe_model(document: dict[str, Any], facts: Facts) -> None:
    """Make a document exact about predict with one model: the bare name, and the version that it means."""
    schemas, paths = document["components"]["schemas"], document["paths"]
    schemas |= model_schemas(facts)
    _limit(paths[PREDICT], name=facts.name)
    _limit(paths[PREDICT_VERSION], name=facts.name, version=facts.version)
    del paths[PREDICT_ALIAS]  # an alias may mean another version, with another signature
    for path in (PREDICT, PREDICT_VERSION):
        _without_examples(paths[path]["post"])
    document["info"] = {**document["info"], "title": f"Almanac: {facts.name}"}


def model_schemas(facts: Facts) -> dict[str, Schema]:
    """The schemas of predict, by the names that they have in the document."""
    signature = facts.signature
    names = [spec.name for spec in signature.outputs]
    outputs = {**OUTPUTS, "items": {"type": "string", "enum": names}}
    labelled = _labelled(signature, len(facts.classes))
    label = {"type": "string", "enum": list(facts.classes)} if labelled is not False else None
    return {
        "Instance": instance_schema(signature),
        "PredictionOutput": output_schema(signature),
        **request_schemas(outputs),
        "Prediction": prediction_schema(label, always=labelled is True),
        "Predictions": reply_schema(
            {"type": "string", "const": facts.name}, {"type": "integer", "const": facts.version}
        ),
    }


def instance_schema(signature: Signature) -> Schema:
    """One row of a request: for a sole input its values bare, or an object by input name."""
    values = input_schemas(signature)
    by_name = record(values, list(values), "A row by input name.")
    if len(values) > 1:
        return by_name
    (sole,) = values.values()
    return {"anyOf": [sole, by_name], "description": "A row: its values, or an object by input name."}


def input_schemas(signature: Signature) -> dict[str, Schema]:
    """One row of each input as it can be sent, by its name."""
    return {spec.name: _values(spec, _element_sent(spec)) for spec in signature.inputs}


def output_schema(signature: Signature) -> Schema:
    """What one row gives: a sole output bare; of several an object, or the one that was asked for bare."""
    values = {spec.name: _values(spec, _element_answered(spec), least=0) for spec in signature.outputs}
    if len(values) == 1:
        return next(iter(values.values()))
    several = {**record(values), "minProperties": 2}
    return {"anyOf": [several, *values.values()], "description": "By output name; bare where `outputs` names one."}


def _values(spec: TensorSpec, element: Schema, least: int = 1) -> Schema:
    """Nested arrays of the row's shape; a free dimension takes `least` values or more, the same number in every row."""
    schema = element
    for length in reversed(spec.shape):
        bounds = {"minItems": least} if length is None else {"minItems": length, "maxItems": length}
        schema = {"type": "array", "items": schema, **bounds}
    return {**schema, "description": str(spec)}


def _element_sent(spec: TensorSpec) -> Schema:
    kind = spec.numpy_dtype.kind
    if kind == "O":
        return {"type": "string"}
    if kind == "b":
        return {"type": "boolean"}
    if kind == "f":
        return {"type": "number", **_FINITE.get(spec.dtype, {})}
    limits = np.iinfo(spec.numpy_dtype)
    return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}


def _element_answered(spec: TensorSpec) -> Schema:
    kinds = {"O": "string", "b": "boolean", "f": ["number", "null"]}  # null: not a number, or infinite
    return {"type": kinds.get(spec.numpy_dtype.kind, "integer")}


#: Numbers that round to infinity are refused.
_FINITE: Mapping[str, Schema] = {
    name: {"exclusiveMinimum": -bound, "exclusiveMaximum": bound}
    for name, bound in (("FP16", 65520.0), ("FP32", float(2**128 - 2**103)))
}


def _labelled(signature: Signature, classes: int) -> bool | None:
    """Whether every prediction has a label, as ml/results.py decides it; None where that hangs on a free dimension."""
    spec = signature.outputs[0]
    if not classes or len(signature.outputs) != 1 or spec.numpy_dtype.kind not in "iuf":
        return False
    if None in spec.shape:
        return None
    width = math.prod(length or 1 for length in spec.shape)
    return width == classes or (width == 1 and classes == 2)


def _limit(item: dict[str, Any], **values: str | int) -> None:
    """Let parameters in a path have one value alone."""
    item["parameters"] = [
        {**parameter, "schema": {**parameter["schema"], "enum": [values[parameter["name"]]]}}
        if parameter.get("name") in values
        else parameter
        for parameter in item["parameters"]
    ]


def _without_examples(operation: dict[str, Any]) -> None:
    """Drop the examples of bodies: they are those of another model."""
    bodies: Sequence[dict[str, Any]] = (operation["requestBody"], operation["responses"]["200"])
    for body in bodies:
        for media in body["content"].values():
            media.pop("examples", None)
