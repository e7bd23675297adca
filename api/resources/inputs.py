"""`inputs`: rows to be scored, put there by people, other programs and predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.auth.caller import Caller
from api.openapi.describe import BINARY, Act, Media, record
from api.resources.base import Resource, described
from ml.audit.entries import Entry
from ml.database.client import Document
from ml.database.documents import etag_filter
from ml.service import Service

FILES = "image/png, image/jpeg, application/x-npy, application/octet-stream"
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"


class Inputs(Resource):
    name = "inputs"
    singular = "input"
    about = "A row to be scored: put there by people, by other programs, or by predict."
    schema = {
        "data": {
            "type": "tensor",
            "required": True,
            "immutable": True,
            "tensor": True,
            **described("The row: a tensor, or tensors by the names of a model's inputs."),
        },
        "model": {
            "type": "string",
            "regex": NAME_PATTERN,
            "immutable": True,
            **described("The model that it is for. Where it is available the row must fit it."),
        },
        "tags": {
            "type": "list",
            "maxlength": 100,
            "schema": {"type": "string", "minlength": 1, "maxlength": 200},
            **described("Words to find it by."),
        },
        "meta": {"type": "dict", "free_form": True, **described("What you want to keep with it; results keep it too.")},
        "source": {
            "type": "string",
            "readonly": True,
            **described("Where it came from: `rest`, `predict`, or nothing where another program stored it."),
        },
        "owner": {"type": "string", "readonly": True, **described("Whose it is.")},
    }
    resource_methods = ["GET", "POST"]
    item_methods = ["GET", "PATCH", "DELETE"]
    tensors = ("data",)
    columns = ("data", "model", "tags", "source", "owner")
    example = {
        "_id": "6b00e4c0d035a01704bf37b4",
        "data": [5.1, 3.5, 1.4, 0.2],
        "model": "iris",
        "tags": ["garden"],
        "meta": {"bed": 3},
        "source": "rest",
        "owner": "admin",
        "_created": "2026-01-01T12:00:00.000Z",
        "_updated": "2026-01-01T12:00:00.000Z",
        "_etag": "8ff0cf3e51a24e3dbb5a3e3c",
    }
    acts = {
        "create": Act(
            examples={
                "one": {"data": [5.1, 3.5, 1.4, 0.2], "model": "iris", "tags": ["garden"], "meta": {"bed": 3}},
                "several": [{"data": [5.1, 3.5, 1.4, 0.2]}, {"data": {"text": ["good"], "stars": [4]}}],
                "packed": {"data": {"dtype": "FP32", "shape": [2, 2], "data": "AACAPwAAAEAAAEBAAACAQA=="}},
            },
            forms={
                "multipart/form-data": Media(
                    record(
                        {
                            "file": {**BINARY, "description": "A PNG, a JPEG or a .npy array."},
                            "model": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
                            "tags": {"type": "string", "description": "A list, as JSON."},
                            "meta": {"type": "string", "description": "An object, as JSON."},
                        },
                        ["file"],
                    ),
                    encoding={"file": {"contentType": FILES}},
                )
            },
        ),
        "change": Act(examples={"tags": {"tags": ["garden", "checked"]}}),
        "delete": Act(description="All results of it go with it."),
    }

    def before_insert(self, service: Service, document: Document, caller: Caller) -> None:
        document["source"] = "rest"
        super().before_insert(service, document, caller)

    def remove(
        self, service: Service, before: Mapping[str, Any], scope: Mapping[str, Any], entry: Entry | None = None
    ) -> bool:
        """The input and all results of it, together."""
        return service.erase_input(before["_id"], {"$and": [etag_filter(before["_etag"]), dict(scope)]}, entry)
