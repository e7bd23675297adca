"""`results`: what was predicted, one document a row. People write only the truth and a note."""

from __future__ import annotations

from api.resources.base import Resource

_READONLY = {"readonly": True}


class Results(Resource):
    name = "results"
    schema = {
        "input": {
            "type": "objectid",
            "data_relation": {"resource": "inputs", "field": "_id", "embeddable": True},
            **_READONLY,
        },
        "job": {
            "type": "objectid",
            "data_relation": {"resource": "jobs", "field": "_id", "embeddable": True},
            **_READONLY,
        },
        "model": {"type": "string", **_READONLY},
        "version": {"type": "integer", **_READONLY},
        "digest": {"type": "string", **_READONLY},
        "status": {"type": "string", "allowed": ["succeeded", "failed"], **_READONLY},
        "output": {"type": "dict", **_READONLY},
        "label": {"type": "string", **_READONLY},
        "score": {"type": "number", **_READONLY},
        "truth": {"type": ["string", "number", "boolean", "list"], "nullable": True, "free_form": True},
        "note": {"type": "string", "nullable": True, "maxlength": 10_000},
        "error": {
            "type": "dict",
            "schema": {"code": {"type": "string"}, "message": {"type": "string"}},
            **_READONLY,
        },
        "timing": {
            "type": "dict",
            "schema": {"queue_ms": {"type": "number"}, "compute_ms": {"type": "number"}, "batch": {"type": "integer"}},
            **_READONLY,
        },
        "executor": {"type": "string", **_READONLY},
        "protocol": {"type": "string", **_READONLY},
        "request": {"type": "string", **_READONLY},
        "meta": {"type": "dict", **_READONLY},
        "owner": {"type": "string", **_READONLY},
    }
    item_methods = ["GET", "PATCH", "DELETE"]
    tensors = ("output",)
