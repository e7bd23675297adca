"""`models`: one document a version. They are uploaded by a route of their own; here they are read, changed, retired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.auth.caller import current_caller
from api.resources.base import EDITORS, Resource
from ml.database.client import Document
from ml.errors import NotAllowed
from ml.service import Service

_READONLY = {"readonly": True}
_TENSORS = {
    "type": "list",
    "schema": {
        "type": "dict",
        "schema": {
            "name": {"type": "string"},
            "dtype": {"type": "string"},
            "shape": {"type": "list", "schema": {"type": "integer"}},
        },
    },
    **_READONLY,
}
_NAMES = {"type": "list", "maxlength": 10_000, "schema": {"type": "string", "minlength": 1, "maxlength": 200}}


class Models(Resource):
    name = "models"
    schema = {
        "name": {"type": "string", **_READONLY},
        "version": {"type": "integer", **_READONLY},
        "state": {"type": "string", "allowed": ["loading", "available", "failed", "retired"], **_READONLY},
        "error": {"type": "string", **_READONLY},
        "digest": {"type": "string", **_READONLY},
        "size": {"type": "integer", **_READONLY},
        "inputs": _TENSORS,
        "outputs": _TENSORS,
        "classes": _NAMES,
        "aliases": {**_NAMES, "maxlength": 100},
        "description": {"type": "string", "nullable": True, "maxlength": 10_000},
        "batch_window_ms": {"type": "number", "min": 0, "max": 1000},
        "executor": {"type": "string", **_READONLY},
        "build": {"type": "dict", **_READONLY},
        "owner": {"type": "string", **_READONLY},
    }
    item_methods = ["GET", "PATCH", "DELETE"]
    writers = EDITORS

    def update(
        self, service: Service, before: Mapping[str, Any], changes: dict[str, Any], scope: Mapping[str, Any]
    ) -> Document | None:
        _check_owner(service, before["name"])
        service.change_model(before, changes)
        return service.db["models"].find_one({"_id": before["_id"]})

    def remove(self, service: Service, before: Mapping[str, Any], scope: Mapping[str, Any]) -> bool:
        _check_owner(service, before["name"])
        service.retire_model(before)
        return True


def _check_owner(service: Service, name: str) -> None:
    """Raise NotAllowed unless the name is the caller's, or the caller is an admin; and its key is for the name."""
    caller = current_caller()
    if not caller.may_use(name):
        raise NotAllowed(f"this key is not for the model {name!r}")
    entry = service.db["registry"].find_one({"_id": name}, {"owner": True}) or {}
    if not caller.is_admin and entry.get("owner") != caller.owner:
        raise NotAllowed(f"the name {name!r} belongs to another owner")
