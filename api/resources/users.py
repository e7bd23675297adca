"""`users`: people who log in with a name and a password, which administrators make, change and remove."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.openapi.describe import Act
from api.resources.base import described
from api.resources.callers import CallerResource
from ml.audit.entries import Entry
from ml.database.client import Document
from ml.database.documents import stamp_new
from ml.identity.caller import ROLES, Caller
from ml.identity.passwords import hash_password
from ml.service import Service

#: A name is an owner, and HTTP Basic knows no colon in one.
USER_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}\Z"


class Users(CallerResource):
    name = "users"
    singular = "user"
    about = "A person who logs in with a name and a password. The name is the owner of what is made."
    schema = {
        "name": {
            "type": "string",
            "required": True,
            "regex": USER_PATTERN,
            "immutable": True,
            **described("The name, which is there once."),
        },
        "role": {"type": "string", "required": True, "allowed": list(ROLES), **described("What the user may do.")},
        "password": {
            "type": "string",
            "required": True,
            "strong_password": True,  # nosec B105 # a rule
            **described("8 characters to 1024 bytes, hard to guess. It is never answered."),
        },
        "disabled": {"type": "boolean", **described("Whether it may not log in.")},
        "description": {"type": "string", "nullable": True, "maxlength": 1000, **described("Who it is.")},
    }
    example = {
        "_id": "6b00e4c0d035a01704bf37f1",
        "name": "bob",
        "role": "user",
        "_created": "2026-01-01T12:00:00.000Z",
        "_updated": "2026-01-01T12:00:00.000Z",
        "_etag": "0f1b3a0e7c2f49d8b6e1a4c7",
    }
    acts = {
        "create": Act(
            summary="Add a user, or several",
            errors={409: "There is a user of this name."},
            examples={
                "bob": {"name": "bob", "role": "user", "password": "four violet otters juggle"}  # nosec B105 # nobody's
            },
        ),
        "change": Act(summary="Change a user", examples={"out": {"disabled": True}}),
        "delete": Act(summary="Remove a user", description="What the user owns stays; see `run.py erase`."),
    }
    secrets = ("password",)
    columns = ("name", "role", "disabled", "description")
    unique = "name"
    # To hash a password takes a tenth of a second.
    most_in_post = 20

    def owner_of(self, document: Mapping[str, Any]) -> str | None:
        name = document.get("name")
        return name if isinstance(name, str) else None

    def before_insert(self, service: Service, document: Document, caller: Caller) -> None:
        document["password_hash"] = hash_password(document.pop("password"))
        stamp_new(document, None)

    def update(
        self,
        service: Service,
        before: Mapping[str, Any],
        changes: dict[str, Any],
        scope: Mapping[str, Any],
        entry: Entry | None = None,
    ) -> Document | None:
        if "password" in changes:
            changes["password_hash"] = hash_password(changes.pop("password"))
        return super().update(service, before, changes, scope, entry)
