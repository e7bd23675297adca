"""`keys`: API keys, which administrators make, change and revoke. A key itself is answered once, when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.openapi.describe import Act
from api.resources.base import described
from api.resources.callers import CallerResource
from api.resources.inputs import NAME_PATTERN
from ml.audit.entries import Entry
from ml.database.client import Document
from ml.identity.caller import ROLES, Caller
from ml.identity.keys import OWNER, check_models, complete
from ml.service import Service

_READONLY = {"readonly": True}


class Keys(CallerResource):
    name = "keys"
    singular = "key"
    about = "An API key: what it may do, and whose documents it works with. The key itself is answered once."
    schema = {
        "role": {
            "type": "string",
            "required": True,
            "allowed": list(ROLES),
            "immutable": True,
            **described("What it may do."),
        },
        "owner": {
            "type": "string",
            "required": True,
            "regex": OWNER,
            "immutable": True,
            **described("Whose documents it works with."),
        },
        "description": {"type": "string", "nullable": True, "maxlength": 1000, **described("What it is for.")},
        "models": {
            "type": "list",
            "nullable": True,
            "minlength": 1,
            "maxlength": 100,
            "schema": {"type": "string", "regex": NAME_PATTERN},
            **described("The models that it is for; without it, or null: all."),
        },
        "expires": {"type": "datetime", "nullable": True, "in_future": True, **described("When it ends; null: never.")},
        "key": {"type": "string", **_READONLY, **described("The key, in the answer to the POST that made it alone.")},
        "prefix": {"type": "string", **_READONLY, **described("Its first eight characters.")},
        "last_used": {"type": "datetime", **_READONLY, **described("When it was used last, to the minute.")},
        "former_until": {"type": "datetime", **_READONLY, **described("Until when the key that it replaced is valid.")},
    }
    example = {
        "_id": "6b00e4c0d035a01704bf37e1",
        "role": "reader",
        "owner": "scanner",
        "description": "the dashboard",
        "prefix": "alm_Zx0f",
        "last_used": "2026-01-01T12:34:00.000Z",
        "_created": "2026-01-01T12:00:00.000Z",
        "_updated": "2026-01-01T12:00:00.000Z",
        "_etag": "5d1b3a0e7c2f49d8b6e1a4c7",
    }
    acts = {
        "create": Act(
            summary="Make a key, or several",
            description="Each is answered with `key`, this once.",
            examples={
                "reader": {"role": "reader", "owner": "scanner", "description": "the dashboard"},
                "narrow": {"role": "user", "owner": "scanner", "models": ["digits"], "expires": "2100-01-01T00:00:00Z"},
            },
        ),
        "change": Act(summary="Change a key", examples={"forever": {"expires": None}}),
        "delete": Act(summary="Revoke a key", description="It stops within two seconds on every replica."),
    }
    secrets = ("key",)
    columns = ("prefix", "role", "owner", "description", "models", "expires", "last_used")
    # Its last use is noted without a new entity tag, so a 304 would hide it.
    conditional = False

    def before_insert(self, service: Service, document: Document, caller: Caller) -> None:
        document["key"] = complete(document)

    def update(
        self,
        service: Service,
        before: Mapping[str, Any],
        changes: dict[str, Any],
        scope: Mapping[str, Any],
        entry: Entry | None = None,
    ) -> Document | None:
        check_models(before["role"], changes.get("models"))
        return super().update(service, before, changes, scope, entry)
