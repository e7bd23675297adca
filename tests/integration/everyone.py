"""Every route and method in one table, for two owners, a reader, an editor, the administrator and a stranger.

And the world in which they are tried: what is asked for is alice's.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from werkzeug.test import TestResponse

from api import create_app
from ml.audit.entries import commanded
from ml.database.client import database_of
from ml.database.documents import stamp_new
from ml.identity.caller import Role
from ml.identity.keys import create_key
from ml.uploads import FILES
from settings import Settings
from tests.conftest import ADMIN_KEY, Api, add_stub
from tests.integration.dialects import SPOKEN, spoken_at
from tests.integration.rest import ROW, Client

CALLERS = ("alice", "bob", "reader", "editor", "admin", "nobody")

#: Method, rule, what is sent where there are several such, and how each of CALLERS is answered.
TABLE = """
GET    /health/live                                             200 200 200 200 200 200
GET    /health/ready                                            503 503 503 503 503 503
GET    /openapi.json                                            200 200 200 200 200 200
GET    /docs                                                    200 200 200 200 200 200
GET    /docs/                                                   308 308 308 308 308 308
GET    /docs/almanac.css                                        200 200 200 200 200 200
GET    /docs/almanac.js                                         200 200 200 200 200 200
GET    /docs/favicon-32x32.png                                  200 200 200 200 200 200
GET    /docs/swagger-ui.css                                     200 200 200 200 200 200
GET    /docs/swagger-ui-bundle.js                               200 200 200 200 200 200
GET    /static/bootstrap.css                                    200 200 200 200 200 200
GET    /static/almanac.css                                      200 200 200 200 200 200
GET    /static/console.css                                      200 200 200 200 200 200
GET    /static/upload.js                                        200 200 200 200 200 200
GET    /static/build.js                                         200 200 200 200 200 200
GET    /static/try.js                                           200 200 200 200 200 200
GET    /static/draw.js                                          200 200 200 200 200 200
GET    /static/almanac.js                                       200 200 200 200 200 200
GET    /static/review.css                                       200 200 200 200 200 200
GET    /static/times.js                                         200 200 200 200 200 200
GET    /static/jobs.js                                          200 200 200 200 200 200
GET    /static/results.js                                       200 200 200 200 200 200
GET    /static/almanac.svg                                      200 200 200 200 200 200
GET    /                                                        303 303 303 303 303 401
GET    /login                                                   200 200 200 200 200 200
GET    /console/jobs                                            200 200 200 200 200 401
POST   /console/jobs                                            403 403 403 403 403 401
GET    /console/matching                                        200 200 200 200 200 401
GET    /console/jobs/<job_id>                                   200 404 200 404 200 401
POST   /console/jobs/<job_id>                                   403 403 403 403 403 401
GET    /console/results                                         200 200 200 200 200 401
GET    /console/results/<result_id>                             200 404 200 404 200 401
POST   /console/results/<result_id>                             403 403 403 403 403 401
GET    /console/results/<result_id>/image.png                   404 404 404 404 404 401
GET    /console/inputs/<input_id>/image.png                     404 404 404 404 404 401
GET    /console/models/<name>/truth                             200 200 200 200 200 401
POST   /login                                                   403 403 403 403 403 403
POST   /logout                                                  303 303 303 303 303 401
GET    /browse/<path>                                           303 303 303 303 303 401
POST   /browse/<path>                                           403 403 403 403 403 401
GET    /console/models                                          200 200 200 200 200 401
POST   /console/models                                          403 403 403 403 403 401
GET    /console/models/<name>                                   200 200 200 200 200 401
GET    /console/models/<name>/versions/<version>                303 303 303 303 303 401
POST   /console/models/<name>/versions/<version>                403 403 403 403 403 401
GET    /console/models/<name>/try                               200 200 403 200 200 401
POST   /console/models/<name>/try                               403 403 403 403 403 401
GET    /console/try                                             303 303 403 303 303 401
GET    /metrics                                                 403 403 403 403 200 401
GET    /api/v1/                                                 200 200 200 200 200 401

GET    /api/v1/models                                           200 200 200 200 200 401
POST   /api/v1/models                              @of-alice    403 403 403 403 201 401
POST   /api/v1/models                              @new         403 403 403 201 201 401
GET    /api/v1/models/<_id>                                     200 200 200 200 200 401
PATCH  /api/v1/models/<_id>                                     403 403 403 403 200 401
DELETE /api/v1/models/<_id>                                     403 403 403 403 204 401
POST   /api/v1/models/<_id>                                     405 405 405 405 405 401
POST   /api/v1/models/<name>/predict               @rows        200 200 403 200 200 401
POST   /api/v1/models/<name>/predict               @ids         200 404 403 404 200 401
POST   /api/v1/models/<name>/predict               @later       202 404 403 404 202 401
POST   /api/v1/models/<name>/versions/<version>/predict @rows   200 200 403 200 200 401
POST   /api/v1/models/<name>/versions/<version>/predict @ids    200 404 403 404 200 401
POST   /api/v1/models/<name>/aliases/<alias>/predict @rows      200 200 403 200 200 401
POST   /api/v1/models/<name>/aliases/<alias>/predict @ids       200 404 403 404 200 401

GET    /api/v1/inputs                                           200 200 200 200 200 401
POST   /api/v1/inputs                                           201 201 403 201 201 401
GET    /api/v1/inputs/<_id>                                     200 404 200 404 200 401
PATCH  /api/v1/inputs/<_id>                                     200 404 403 404 200 401
DELETE /api/v1/inputs/<_id>                                     204 404 403 404 204 401
POST   /api/v1/inputs/<_id>                                     405 405 405 405 405 401
GET    /api/v1/inputs/<input_id>/data                           200 404 200 404 200 401

GET    /api/v1/results                                          200 200 200 200 200 401
GET    /api/v1/results/<_id>                                    200 404 200 404 200 401
PATCH  /api/v1/results/<_id>                                    200 404 403 404 200 401
DELETE /api/v1/results/<_id>                                    204 404 403 404 204 401
POST   /api/v1/results/<_id>                                    405 405 405 405 405 401

GET    /api/v1/jobs                                             200 200 200 200 200 401
POST   /api/v1/jobs                                @where       201 201 403 201 201 401
POST   /api/v1/jobs                                @ids         201 404 403 404 201 401
GET    /api/v1/jobs/<_id>                                       200 404 200 404 200 401
PATCH  /api/v1/jobs/<_id>                                       200 404 403 404 200 401
DELETE /api/v1/jobs/<_id>                                       204 404 403 404 204 401
POST   /api/v1/jobs/<_id>                                       405 405 405 405 405 401
GET    /api/v1/jobs/<job_id>/events                             200 404 200 404 200 401

GET    /api/v1/deliveries                                       200 200 200 200 200 401
GET    /api/v1/deliveries/<_id>                                 200 404 200 404 200 401
PATCH  /api/v1/deliveries/<_id>                                 200 404 403 404 200 401
POST   /api/v1/deliveries/<_id>                                 405 405 405 405 405 401
GET    /api/v1/webhooks/secret                                  200 200 200 200 200 401
POST   /api/v1/webhooks/secret                                  200 200 403 200 200 401

GET    /api/v1/keys                                             403 403 403 403 200 401
POST   /api/v1/keys                                             403 403 403 403 201 401
GET    /api/v1/keys/<_id>                                       403 403 403 403 200 401
PATCH  /api/v1/keys/<_id>                                       403 403 403 403 200 401
DELETE /api/v1/keys/<_id>                                       403 403 403 403 204 401
POST   /api/v1/keys/<_id>                                       403 403 403 403 405 401
POST   /api/v1/keys/<key_id>/rotate                             403 403 403 403 200 401
GET    /api/v1/users                                            403 403 403 403 200 401
POST   /api/v1/users                                            403 403 403 403 201 401
GET    /api/v1/users/<_id>                                      403 403 403 403 200 401
PATCH  /api/v1/users/<_id>                                      403 403 403 403 200 401
DELETE /api/v1/users/<_id>                                      403 403 403 403 204 401
POST   /api/v1/users/<_id>                                      403 403 403 403 405 401
GET    /api/v1/audit                                            403 403 403 403 200 401
GET    /api/v1/audit/<_id>                                      403 403 403 403 200 401
"""

TABLE += "".join(spoken.TABLE for spoken in SPOKEN.values())

#: Parts of rules that are the id of a document.
IDS = ("_id", "input_id", "job_id", "key_id", "result_id", "prediction", "file_id")
OWNED = ("inputs", "results", "jobs", "deliveries")
#: What only alice's documents hold; in the shape of a user's name, which is one too.
MARK = "marked-by-alice"
WRITES: dict[str, dict[str, Any]] = {
    "models": {"description": "changed"},
    "inputs": {"tags": ["changed"]},
    "results": {"truth": "changed", "note": "changed"},
    "jobs": {"priority": 9},
    "deliveries": {"status": "queued"},
    "keys": {"description": "changed"},
    "users": {"description": "changed"},
}


#: All but entries of the audit for requests that were refused, which come in the background.
LASTING = {"action": {"$ne": "refuse"}}
#: What the requests of a variant have beside their body.
HEADERS = {"later": {"Prefer": "respond-async"}}


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    method: str
    rule: str
    variant: str
    codes: dict[str, int]

    def __str__(self) -> str:
        return f"{self.method} {self.rule} {self.variant}".strip()


def lines() -> Iterator[Line]:
    for text in filter(None, TABLE.splitlines()):
        method, rule, *rest = text.split()
        variant = rest.pop(0)[1:] if rest[0].startswith("@") else ""
        yield Line(method, rule, variant, dict(zip(CALLERS, map(int, rest), strict=True)))


#: Health first: a prediction makes the process know its models, and ready.
LINES = sorted(lines(), key=lambda line: "/health/" not in line.rule)


def plain(rule: Any) -> str:
    """A rule without its converters: `/api/v1/inputs/<_id>`."""
    return "".join(part if static else f"<{part}>" for static, part in _parts(rule))


def path_of(rule: str, id_: ObjectId) -> str:
    """A path that such a rule leads to."""
    for name, value in {
        **dict.fromkeys(IDS, str(id_)),
        "name": "sums",
        "version": "1",
        "alias": "stable",
        "owner": "alice",
        "version_id": "1",
        "path": "api/v1/inputs",
    }.items():
        rule = rule.replace(f"<{name}>", value)
    return rule


def _parts(rule: Any) -> Iterator[tuple[bool, str]]:
    for dynamic, part in rule._trace:
        if part and part != "|":
            yield not dynamic, part


class World:
    """An app over documents of alice and bob, and everyone who asks it."""

    def __init__(self, client: Client, directory: Any) -> None:
        self.db = database_of(client)
        for name in self.db.list_collection_names():
            if name != "meta":
                self.db[name].delete_many({})
        app = create_app(Settings(data_dir=directory, admin_key=ADMIN_KEY, _env_file=None), client)
        self.app, self.service = app, app.extensions["service"]
        add_stub(client, directory, owner="alice", aliases={"stable": 1})
        root = Api(app.test_client())
        self.callers = {"admin": root, "nobody": root.as_caller(None)}
        asked_as: dict[str, tuple[Role, str]] = {
            "alice": ("user", "alice"),
            "bob": ("user", "bob"),
            "reader": ("reader", "alice"),
            "editor": ("editor", "eve"),
        }
        for caller, (role, owner) in asked_as.items():
            self.callers[caller] = root.as_caller(create_key(self.db, role, owner)[1])
        self.templates = {owner: self._documents(owner, mark) for owner, mark in (("alice", MARK), ("bob", "by-bob"))}
        for owner, documents in self.templates.items():
            for name in OWNED:
                self.db[name].insert_one(dict(documents[name]))
            name = documents["results"]["note"]
            self.service.uploads.put(io.BytesIO(), owner=owner, name=name, content_type="text/plain")

    def _documents(self, owner: str, mark: str) -> dict[str, dict[str, Any]]:
        """One of each kind, which refer to one another."""
        ids = {name: ObjectId() for name in OWNED}
        job = {"model": "sums", "version": 1, "status": "canceled", "where": {"tags": mark}, "scope": {"owner": owner}}
        # So that it is one of Replicate's predictions, too.
        job |= {"protocol": "replicate", "prediction": {"model": f"{mark}/sums"}}
        told = {"job": ids["jobs"], "event": "canceled", "url": f"https://receiver.example/{mark}", "status": "failed"}
        output = {"input": ids["inputs"], "job": ids["jobs"], "output": {"y": [1.0]}, "label": mark, "note": mark}
        documents: dict[str, dict[str, Any]] = {
            "inputs": {"data": [1.0, 2.0, 3.0], "tags": [mark], "meta": {"of": mark}, "source": "rest"},
            "results": {**output, "model": "sums", "version": 1, "status": "succeeded"},
            "jobs": {**job, "priority": 5, "fence": 0, "attempts": 0, "progress": {"total": 1, "done": 1, "failed": 0}},
            "deliveries": {**told, "attempt": 12, "n": 1, "owner": owner, "host": "receiver.example"},
        }
        return {name: stamp_new({"_id": ids[name], **document}, owner) for name, document in documents.items()}

    def target(self, resource: str) -> dict[str, Any]:
        """A fresh document of alice's, or of the administrator's where there are no others; stored until `clear`."""
        document: dict[str, Any]
        if resource in OWNED:
            document = {**self.templates["alice"][resource], "_id": ObjectId()}
        elif resource == "models":
            document = {**(self.db["models"].find_one({"name": "sums"}) or {}), "_id": ObjectId()}
            document.update(version=self.db["models"].count_documents({}) + 1, aliases=[], description=MARK)
        elif resource == FILES:
            document = {**(self.db[FILES].find_one({"owner": "alice"}) or {}), "_id": ObjectId()}
        elif resource == "audit":
            document = commanded("change", "inputs").document([ObjectId()], "alice") | {"_id": ObjectId()}
        elif resource == "keys":
            return create_key(self.db, "user", "alice", description=MARK)[0]
        else:
            document = {"_id": ObjectId(), "name": f"u{ObjectId()}", "role": "user", "password_hash": "$argon2id$none"}
            document = stamp_new({**document, "description": MARK}, None)
        self.db[resource].insert_one(document)
        return document

    def send(self, line: Line, caller: str, ids: dict[str, ObjectId]) -> TestResponse:
        """The line's request, for the documents with these ids."""
        url = path_of(line.rule, next(iter(ids.values()), ObjectId()))
        request = getattr(self.callers[caller], line.method.lower())
        headers = {"If-Match": "*"} if line.method in ("PATCH", "DELETE") else {}
        # Whole and closed: an answer that is streamed has its place among the requests until then.
        answer: TestResponse = request(
            url, headers={**headers, **HEADERS.get(line.variant, {})}, buffered=True, **self._body(line)
        )
        return answer

    def _body(self, line: Line) -> dict[str, Any]:
        if (dialect := spoken_at(line.rule)) is not None:
            return dialect.body_for(line.method, line.rule, line.variant)
        resource = resource_of(line.rule)
        theirs = [str(self.templates["alice"]["inputs"]["_id"])]
        if line.method == "PATCH":
            return {"json": WRITES[resource]}
        if line.method != "POST" or not line.rule.startswith("/api/") or "<_id>" in line.rule or "secret" in line.rule:
            return {}
        if line.rule.endswith("/predict"):
            return {"json": {"instances": [ROW]} if line.variant == "rows" else {"inputs": theirs}}
        if resource == "models":
            name = "sums" if line.variant == "of-alice" else f"n{ObjectId()}"
            return {"data": {"name": name, "file": (io.BytesIO(b"no model"), "m.keras")}}
        job = {"inputs": theirs} if line.variant == "ids" else {"where": {}}
        bodies: dict[str, dict[str, Any]] = {
            "inputs": {"data": ROW},
            "jobs": {"model": "sums", **job},
            "keys": {} if line.rule.endswith("rotate") else {"role": "user", "owner": "alice"},
            "users": {"name": f"u{ObjectId()}", "role": "user", "password": "four violet otters juggle"},
        }
        return {"json": bodies[resource]}

    def stored(self) -> dict[str, list[dict[str, Any]]]:
        """All documents, but for what replicas tell one another every second, when keys were used, and refusals."""
        names = [name for name in self.db.list_collection_names() if not name.startswith(("system.", "traffic", "fs."))]
        return {name: list(self.db[name].find(LASTING, {"last_used": False}).sort("_id", 1)) for name in sorted(names)}

    def clear(self, before: dict[str, list[dict[str, Any]]]) -> None:
        """Put everything back as it was."""
        for name, documents in self.stored().items():
            if documents != before.get(name, []):
                self.db[name].delete_many({})
                if before.get(name):
                    self.db[name].insert_many(before[name])


def resource_of(rule: str) -> str:
    """The resource below which a rule is, or nothing."""
    if rule.startswith("/v1/files"):
        return FILES
    if rule.startswith("/console/"):
        return rule.split("/")[2]
    if "<prediction>" in rule:
        return "jobs"
    return rule.split("/")[3] if rule.startswith("/api/") and rule.count("/") > 2 else ""
