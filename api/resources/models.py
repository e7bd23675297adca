"""`models`: one document a version. They are uploaded by a route of their own; here they are read, changed, retired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.auth.caller import Caller, current_caller
from api.openapi.describe import Act
from api.resources.base import EDITORS, Resource, described
from ml.database.client import READ_MS, Document
from ml.errors import NotAllowed
from ml.service import Service

_READONLY = {"readonly": True}
_TENSORS = {
    "type": "list",
    "schema": {
        "type": "dict",
        "schema": {
            "name": {"type": "string", **described("Its name.")},
            "dtype": {"type": "string", **described("The type of its elements, such as FP32, INT64 or BYTES.")},
            "shape": {
                "type": "list",
                "schema": {"type": "integer"},
                **described("The shape of one row; -1 is a free dimension."),
            },
        },
    },
    **_READONLY,
}
#: What ml/catalog.py asks of names.
_DIFFERENT = {"uniqueItems": True}
_NAMES = {"type": "list", "maxlength": 10_000, "schema": {"type": "string", "minlength": 1, "maxlength": 200}}


class Models(Resource):
    name = "models"
    singular = "model"
    about = "One version of a model: its signature, its state, and how it was built."
    schema = {
        "name": {"type": "string", **_READONLY, **described("The model's name, which its versions share.")},
        "version": {"type": "integer", **_READONLY, **described("The version's number, which is never used again.")},
        "state": {
            "type": "string",
            "allowed": ["loading", "available", "failed", "retired"],
            **_READONLY,
            **described("Whether it can be asked: it is loading while it is built."),
        },
        "error": {"type": "string", **_READONLY, **described("Why it failed.")},
        "digest": {"type": "string", **_READONLY, **described("SHA-256 of the file.")},
        "size": {"type": "integer", **_READONLY, **described("Bytes of the file.")},
        "inputs": {**_TENSORS, **described("What a row is made of, once it is built.")},
        "outputs": {**_TENSORS, **described("What is answered, once it is built.")},
        "classes": {
            **_NAMES,
            **described("Names of the classes: as many as the sole output is wide, or two.", sent=_DIFFERENT),
        },
        "aliases": {
            **_NAMES,
            "maxlength": 100,
            **described(
                "Names under which it is asked. An alias is taken from the version that had it.",
                sent=_DIFFERENT | {"items": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}},
            ),
        },
        "description": {"type": "string", "nullable": True, "maxlength": 10_000, **described("What it is.")},
        "batch_window_ms": {
            "type": "number",
            "min": 0,
            "max": 1000,
            **described("Milliseconds that a row may wait for others to come into its batch."),
        },
        "executor": {"type": "string", **_READONLY, **described("What runs it: the fastest that is equal to Keras.")},
        "build": {"type": "dict", **_READONLY, **described("How it was built: what was tried, its times and log.")},
        "owner": {"type": "string", **_READONLY, **described("Who registered it.")},
    }
    item_methods = ["GET", "PATCH", "DELETE"]
    example = {
        "_id": "6b00e4c0d035a01704bf37a1",
        "name": "iris",
        "version": 1,
        "state": "available",
        "digest": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "size": 23310,
        "inputs": [{"name": "measures", "dtype": "FP32", "shape": [4]}],
        "outputs": [{"name": "probabilities", "dtype": "FP32", "shape": [3]}],
        "classes": ["setosa", "versicolor", "virginica"],
        "aliases": ["stable"],
        "executor": "onnx",
        "build": {"seconds": 6.1},
        "owner": "admin",
        "_created": "2026-01-01T11:00:00.000Z",
        "_updated": "2026-01-01T11:00:06.100Z",
        "_etag": "9c1185a5c5e9fc5461280897",
    }
    acts = {
        "change": Act(
            errors={
                403: "The name belongs to another owner.",
                409: "An alias needs the version to be available; the message has its state.",
            },
            examples={"stable": {"aliases": ["stable"]}, "text": {"description": "Fisher's irises."}},
        ),
        "delete": Act(
            summary="Retire a version",
            description="Its file and what was built of it go; the document stays, with `state` retired.",
            errors={403: "The name belongs to another owner."},
        ),
    }
    writers = EDITORS
    columns = ("name", "version", "state", "aliases", "inputs", "executor", "owner")

    def allows(self, service: Service, document: Mapping[str, Any], caller: Caller, method: str) -> bool:
        if method == "DELETE" and document.get("state") == "retired":
            return False
        name = document.get("name")
        return isinstance(name, str) and caller.may_use(name) and _is_owner(service, name, caller)

    def update(
        self, service: Service, before: Mapping[str, Any], changes: dict[str, Any], scope: Mapping[str, Any]
    ) -> Document | None:
        _check_owner(service, before["name"])
        service.change_model(before, changes)
        return service.db["models"].find_one({"_id": before["_id"]}, max_time_ms=READ_MS)

    def remove(self, service: Service, before: Mapping[str, Any], scope: Mapping[str, Any]) -> bool:
        _check_owner(service, before["name"])
        service.retire_model(before)
        return True


def _check_owner(service: Service, name: str) -> None:
    """Raise NotAllowed unless the name is the caller's, or the caller is an admin; and its key is for the name."""
    caller = current_caller()
    if not caller.may_use(name):
        raise NotAllowed(f"this key is not for the model {name!r}")
    if not _is_owner(service, name, caller):
        raise NotAllowed(f"the name {name!r} belongs to another owner")


def _is_owner(service: Service, name: str, caller: Caller) -> bool:
    if caller.is_admin:
        return True
    entry = service.db["registry"].find_one({"_id": name}, {"owner": True}, max_time_ms=READ_MS) or {}
    return bool(entry.get("owner") == caller.owner)
