"""A version's `openapi_schema`: what its input and output are, where Replicate's clients look for it."""

from __future__ import annotations

from typing import Any

from api.openapi.describe import Schema
from api.openapi.signatures import input_schemas, output_schema
from ml.service import Signature, TensorSpec

#: The first version of Cog whose schemas say which lists are streams of outputs: of older ones clients take every list
#: to be one.
COG_VERSION = "0.3.9"

_FILE: Schema = {
    "type": "string",
    "format": "uri",
    "description": "The URL of a file, or a data URL: an image or a .npy array.",
}


def openapi_schema(signature: Signature) -> dict[str, Any]:
    """The schemas `Input` and `Output` of a signature."""
    schemas = {
        spec.name: {"title": spec.name, "x-order": order, **_input(spec, schema)}
        for order, (spec, schema) in enumerate(zip(signature.inputs, input_schemas(signature).values(), strict=True))
    }
    given: Schema = {"title": "Input", "type": "object", "required": list(schemas), "properties": schemas}
    made = {"title": "Output", **output_schema(signature)}
    return {"openapi": "3.1.0", "components": {"schemas": {"Input": given, "Output": made}}}


def _input(spec: TensorSpec, values: Schema) -> Schema:
    """The values of an input, or a file that has them; strings are none."""
    if spec.dtype == "BYTES":
        return values
    return {"anyOf": [values, _FILE], "description": str(spec)}
