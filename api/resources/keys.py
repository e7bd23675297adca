"""`keys`: API keys, which administrators make, change and revoke. A key itself is answered once, when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.resources.base import ADMINS, Resource
from api.resources.inputs import NAME_PATTERN
from ml.database.client import Document
from ml.identity.caller import ROLES, Caller
from ml.identity.keys import OWNER, check_models, complete
from ml.service import Service

_READONLY = {"readonly": True}


class Keys(Resource):
    name = "keys"
    schema = {
        "role": {"type": "string", "required": True, "allowed": list(ROLES), "immutable": True},
        "owner": {"type": "string", "required": True, "regex": OWNER, "immutable": True},
        "description": {"type": "string", "nullable": True, "maxlength": 1000},
        "models": {
            "type": "list",
            "nullable": True,
            "minlength": 1,
            "maxlength": 100,
            "schema": {"type": "string", "regex": NAME_PATTERN},
        },
        "expires": {"type": "datetime", "nullable": True, "in_future": True},
        "key": {"type": "string", **_READONLY},
        "prefix": {"type": "string", **_READONLY},
        "last_used": {"type": "datetime", **_READONLY},
        "former_until": {"type": "datetime", **_READONLY},
    }
    resource_methods = ["GET", "POST"]
    item_methods = ["GET", "PATCH", "DELETE"]
    readers = writers = ADMINS
    secrets = ("key",)
    # Its last use is noted without a new entity tag, so a 304 would hide it.
    conditional = False

    def before_insert(self, service: Service, document: Document, caller: Caller) -> None:
        document["key"] = complete(document)

    def update(
        self, service: Service, before: Mapping[str, Any], changes: dict[str, Any], scope: Mapping[str, Any]
    ) -> Document | None:
        check_models(before["role"], changes.get("models"))
        after = super().update(service, before, changes, scope)
        service.identity.forget(before["_id"])
        return after

    def remove(self, service: Service, before: Mapping[str, Any], scope: Mapping[str, Any]) -> bool:
        removed = super().remove(service, before, scope)
        service.identity.forget(before["_id"])
        return removed
