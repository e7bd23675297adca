"""`results`: what was predicted, one document a row. People write only the truth and a note."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.openapi.describe import Act
from api.resources.base import Resource, described
from ml.audit.entries import Entry
from ml.database.client import Document
from ml.service import Service

_READONLY = {"readonly": True}


class Results(Resource):
    name = "results"
    singular = "result"
    about = "What was predicted for one row. People mark the truth of it."
    schema = {
        "input": {
            "type": "objectid",
            "data_relation": {"resource": "inputs", "field": "_id", "embeddable": True},
            **_READONLY,
            **described("The row, where it is stored; with `embedded` its document."),
        },
        "job": {
            "type": "objectid",
            "data_relation": {"resource": "jobs", "field": "_id", "embeddable": True},
            **_READONLY,
            **described("The job that scored it, if one did; with `embedded` its document."),
        },
        "model": {"type": "string", **_READONLY, **described("The model's name.")},
        "version": {"type": "integer", **_READONLY, **described("The version that answered.")},
        "digest": {"type": "string", **_READONLY, **described("SHA-256 of the version's file.")},
        "status": {
            "type": "string",
            "allowed": ["succeeded", "failed"],
            **_READONLY,
            **described("Whether the row was computed."),
        },
        "output": {"type": "dict", **_READONLY, **described("Each output by its name.")},
        "label": {"type": "string", **_READONLY, **described("The class, where the model has classes.")},
        "score": {
            "type": "number",
            "nullable": True,
            **_READONLY,
            **described("That class's value as the model gave it."),
        },
        "truth": {
            "type": ["string", "number", "boolean", "list"],
            "nullable": True,
            "free_form": True,
            **described("What is true, as somebody marked it."),
        },
        "note": {"type": "string", "nullable": True, "maxlength": 10_000, **described("What somebody noted.")},
        "error": {
            "type": "dict",
            "schema": {
                "code": {"type": "string", **described("What kind of failure it is.")},
                "message": {"type": "string", **described("What the model said, or what does not fit.")},
            },
            **_READONLY,
            **described("Why the row failed."),
        },
        "timing": {
            "type": "dict",
            "schema": {
                "queue_ms": {"type": "number", **described("Milliseconds that it waited.")},
                "compute_ms": {"type": "number", **described("Milliseconds that the executor took for its batch.")},
                "batch": {"type": "integer", **described("Rows in that batch.")},
            },
            **_READONLY,
            **described("How long it took."),
        },
        "executor": {"type": "string", **_READONLY, **described("What ran the model.")},
        "protocol": {"type": "string", **_READONLY, **described("By which routes it was asked for.")},
        "request": {"type": "string", **_READONLY, **described("The request's X-Request-ID.")},
        "meta": {"type": "dict", **_READONLY, **described("The caller's, of this row.")},
        "owner": {"type": "string", **_READONLY, **described("Whose it is.")},
    }
    item_methods = ["GET", "PATCH", "DELETE"]
    tensors = ("output",)
    newest = "_created"
    columns = ("model", "version", "status", "label", "score", "truth", "input", "job", "owner")
    example = {
        "_id": "6b00e4c0d035a01704bf37b5",
        "input": "6b00e4c0d035a01704bf37b4",
        "model": "iris",
        "version": 1,
        "digest": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "status": "succeeded",
        "output": {"probabilities": [0.97, 0.02, 0.01]},
        "label": "setosa",
        "score": 0.97,
        "truth": "setosa",
        "timing": {"queue_ms": 0.09, "compute_ms": 0.183, "batch": 1},
        "executor": "onnx",
        "protocol": "almanac",
        "request": "3c1a7c1d50cf4e0f8e1c5b7a0f3f9c52",
        "owner": "admin",
        "_created": "2026-01-01T12:00:00.000Z",
        "_updated": "2026-01-01T12:05:00.000Z",
        "_etag": "1f0c2b7a9e4d4c55a1b8d3e2",
    }
    acts = {
        "change": Act(
            summary="Mark the truth of a result",
            examples={"truth": {"truth": "setosa", "note": "checked by hand"}, "cleared": {"truth": None}},
        )
    }

    def update(
        self,
        service: Service,
        before: Mapping[str, Any],
        changes: dict[str, Any],
        scope: Mapping[str, Any],
        entry: Entry | None = None,
    ) -> Document | None:
        found = super().update(service, before, changes, scope, entry)
        service.review.marked()
        return found

    def remove(
        self, service: Service, before: Mapping[str, Any], scope: Mapping[str, Any], entry: Entry | None = None
    ) -> bool:
        removed = super().remove(service, before, scope, entry)
        service.review.marked()
        return removed
