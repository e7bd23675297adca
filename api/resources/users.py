"""`users`: people who log in with a name and a password, which administrators make, change and remove."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.resources.base import ADMINS, Resource
from ml.database.client import Document
from ml.database.documents import stamp_new
from ml.identity.caller import ROLES, Caller
from ml.identity.passwords import hash_password
from ml.service import Service

#: A name is an owner, and HTTP Basic knows no colon in one.
USER_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}\Z"


class Users(Resource):
    name = "users"
    schema = {
        "name": {"type": "string", "required": True, "regex": USER_PATTERN, "immutable": True},
        "role": {"type": "string", "required": True, "allowed": list(ROLES)},
        "password": {"type": "string", "required": True, "strong_password": True},
        "disabled": {"type": "boolean"},
        "description": {"type": "string", "nullable": True, "maxlength": 1000},
    }
    resource_methods = ["GET", "POST"]
    item_methods = ["GET", "PATCH", "DELETE"]
    readers = writers = ADMINS
    secrets = ("password",)
    unique = "name"
    # To hash a password takes a tenth of a second.
    most_in_post = 20

    def before_insert(self, service: Service, document: Document, caller: Caller) -> None:
        document["password_hash"] = hash_password(document.pop("password"))
        stamp_new(document, None)

    def update(
        self, service: Service, before: Mapping[str, Any], changes: dict[str, Any], scope: Mapping[str, Any]
    ) -> Document | None:
        if "password" in changes:
            changes["password_hash"] = hash_password(changes.pop("password"))
        after = super().update(service, before, changes, scope)
        service.identity.forget(before["_id"])
        return after

    def remove(self, service: Service, before: Mapping[str, Any], scope: Mapping[str, Any]) -> bool:
        removed = super().remove(service, before, scope)
        service.identity.forget(before["_id"])
        return removed
