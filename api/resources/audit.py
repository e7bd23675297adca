"""`audit`: who did what to which document. It is read by administrators, and nobody changes it."""

from __future__ import annotations

from api.openapi.describe import Act
from api.resources.base import ADMINS, Resource, described
from ml.audit.entries import ACTIONS

_READONLY = {"readonly": True}


class Audit(Resource):
    name = "audit"
    singular = "entry"
    about = "What somebody did, or was refused: by whom, from where, to which documents; never what these hold."
    schema = {
        "action": {
            "type": "string",
            "allowed": list(ACTIONS),
            **_READONLY,
            **described("What was done; `refuse`: a request that was answered 401, 403 or 429."),
        },
        "resource": {"type": "string", **_READONLY, **described("Documents of which kind.")},
        "documents": {
            "type": "list",
            "schema": {"type": "objectid"},
            **_READONLY,
            **described("Which; of more than ten the first ten, in order."),
        },
        "last": {"type": "objectid", **_READONLY, **described("The last, where there are more than ten.")},
        "count": {"type": "integer", **_READONLY, **described("How many documents, or how many refusals.")},
        "changed": {
            "type": "list",
            "schema": {"type": "string"},
            **_READONLY,
            **described("Names of the fields that were changed."),
        },
        "owner": {"type": "string", **_READONLY, **described("Whose documents; of a log-in, the user's name.")},
        "by": {
            "type": "dict",
            "schema": {
                "owner": {"type": "string", **described("The owner of the key, or the user's name.")},
                "role": {"type": "string", **described("In which role.")},
                "via": {
                    "type": "string",
                    **described(
                        "What was shown: `key`, `password`, `administrator's key` or `nothing`; or `anyone` with "
                        "ALMANAC_AUTH=off, `link` (that `serve` prints), `command line`, `build`."
                    ),
                },
                "key": {"type": "string", **described("The first eight characters of the key.")},
                "id": {"type": "objectid", **described("The document of the key or of the user.")},
                "user": {"type": "string", **described("At the command line: the user of the machine.")},
            },
            **_READONLY,
            **described("Who."),
        },
        "address": {"type": "string", **_READONLY, **described("From where, as the connection says.")},
        "request": {"type": "string", **_READONLY, **described("The X-Request-ID; of several refusals the first's.")},
        "status": {"type": "integer", **_READONLY, **described("How it was answered.")},
        "target": {"type": "string", **_READONLY, **described("Of a refusal: the method and route.")},
        "since": {
            "type": "datetime",
            **_READONLY,
            **described("Of several refusals: when the first was; `_created` is when they were written down."),
        },
    }
    readers = writers = ADMINS
    example = {
        "_id": "6b00e4c0d035a01704bf3801",
        "action": "change",
        "resource": "results",
        "documents": ["6b00e4c0d035a01704bf37b5"],
        "count": 1,
        "changed": ["note", "truth"],
        "owner": "scanner",
        "by": {
            "owner": "scanner",
            "role": "user",
            "via": "key",
            "key": "alm_Zx0f",
            "id": "6b00e4c0d035a01704bf37e1",
        },
        "address": "192.0.2.7",
        "request": "3c1a7c1d50cf4e0f8e1c5b7a0f3f9c52",
        "status": 200,
        "_created": "2026-01-01T12:05:00.000Z",
        "_updated": "2026-01-01T12:05:00.000Z",
        "_etag": "2f7c2b7a9e4d4c55a1b8d3e2",
    }
    acts = {
        "list": Act(
            summary="Find who did what",
            description="The newest first with `sort=-_created`. By `owner`, `by.owner` or `documents` it is quick.",
        ),
        "read": Act(summary="Get an entry"),
    }
