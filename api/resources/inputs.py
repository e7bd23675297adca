"""`inputs`: rows to be scored, put there by people, other programs and predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.auth.caller import Caller
from api.resources.base import Resource
from ml.database.client import Document
from ml.database.documents import etag_filter
from ml.service import Service

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"


class Inputs(Resource):
    name = "inputs"
    schema = {
        "data": {"type": "tensor", "required": True, "immutable": True, "tensor": True},
        "model": {"type": "string", "regex": NAME_PATTERN, "immutable": True},
        "tags": {"type": "list", "maxlength": 100, "schema": {"type": "string", "minlength": 1, "maxlength": 200}},
        "meta": {"type": "dict", "free_form": True},
        "source": {"type": "string", "readonly": True},
        "owner": {"type": "string", "readonly": True},
    }
    resource_methods = ["GET", "POST"]
    item_methods = ["GET", "PATCH", "DELETE"]
    tensors = ("data",)

    def before_insert(self, service: Service, document: Document, caller: Caller) -> None:
        document["source"] = "rest"
        super().before_insert(service, document, caller)

    def remove(self, service: Service, before: Mapping[str, Any], scope: Mapping[str, Any]) -> bool:
        """The input and all results of it, together."""
        return service.erase_input(before["_id"], {"$and": [etag_filter(before["_etag"]), dict(scope)]})
