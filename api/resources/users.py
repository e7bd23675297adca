"""`users`: people who log in with a name and a password, which administrators make, change and remove."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.resources.base import ADMINS, Resource, described
from ml.database.client import Document
from ml.database.documents import stamp_new
from ml.identity.caller import ROLES, Caller
from ml.identity.passwords import hash_password
from ml.service import Service

#: A name is an owner, and HTTP Basic knows no colon in one.
USER_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}\Z"


class Users(Resource):
    name = "users"
    singular = "user"
    about = "A person who logs in with a name and a password; the name is the owner of what they make."
    schema = {
        "name": {
            "type": "string",
            "required": True,
            "regex": USER_PATTERN,
            "immutable": True,
            **described("The name to log in with, and the owner of what they make."),
        },
        "role": {"type": "string", "required": True, "allowed": list(ROLES), **described("What they may do.")},
        "password": {
            "type": "string",
            "required": True,
            "strong_password": True,
            **described(
                "The password: 8 characters to 1024 bytes, and hard to guess. It is never answered.",
                sent={"writeOnly": True},
            ),
        },
        "disabled": {"type": "boolean", **described("Whether they may not log in.")},
        "description": {"type": "string", "nullable": True, "maxlength": 1000, **described("Who it is.")},
    }
    example = {
        "_id": "6b00e4c0d035a01704bf37f1",
        "name": "bob",
        "role": "user",
        "disabled": False,
        "_created": "2026-01-01T12:00:00.000Z",
        "_updated": "2026-01-01T12:00:00.000Z",
        "_etag": "8ff0cf3e51a24e3dbb5a3e3c",
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
