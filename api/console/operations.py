"""What can be done at an address, and below it, by whom: from the OpenAPI document and the permissions alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from api.auth.caller import Caller
from api.auth.permissions import MODEL, roles_for
from api.console.negotiation import API
from api.openapi.assembly import assemble
from api.openapi.paths import path_of
from api.resources import RESOURCES
from api.resources.base import Resource

METHODS = ("GET", "POST", "PATCH", "DELETE")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Offer:
    """One operation at one address."""

    method: str
    path: str
    #: The path as the document has it: `/api/v1/inputs/{id}`.
    template: str
    endpoint: str
    #: As the OpenAPI document has it.
    operation: Json

    @property
    def summary(self) -> str:
        return str(self.operation["summary"])

    @property
    def description(self) -> str:
        return str(self.operation.get("description", ""))

    @property
    def content(self) -> Json:
        """What may be sent, by media type."""
        found: Json = self.operation.get("requestBody", {}).get("content", {})
        return found

    def has_header(self, key: str) -> bool:
        """Whether it takes this header, by its key in api/openapi/shared.py."""
        return {"$ref": f"#/components/parameters/{key}"} in self.operation.get("parameters", ())


class Operations:
    """Those of an app. The document is put together once."""

    def __init__(self, app: Flask) -> None:
        document = assemble(app)
        self._map = app.url_map
        self._paths: Json = document["paths"]
        self._schemas: Json = document["components"]["schemas"]
        self.tags: dict[str, str] = {tag["name"]: tag["description"] for tag in document["tags"]}

    def at(self, path: str, caller: Caller) -> list[Offer]:
        """What this caller may do at an address, whatever is there now."""
        found = []
        for method in METHODS:
            try:
                rule, values = self._map.bind("localhost").match(path, method, return_rule=True)
            except (HTTPException, RequestRedirect):
                continue
            template = path_of(rule)
            operation = self._paths.get(template, {}).get(method.lower())
            if operation is not None and _may(caller, rule.endpoint, method, values):
                found.append(Offer(method, path, template, rule.endpoint, operation))
        return found

    def below(self, template: str, path: str, document: Json, caller: Caller) -> Iterator[Offer]:
        """What more there is about a document at `path`: addresses below it, and those that its fields name."""
        parent = template.rpartition("/")[0]
        for other in self._paths:
            if other.startswith(f"{template}/"):
                below = path + other[len(template) :]
            elif other.startswith(f"{parent}/{{") and other != template:
                below = _filled(other, document)
            else:
                continue
            if "{" not in below:
                yield from self.at(below, caller)

    def without_parts(self, caller: Caller) -> list[Offer]:
        """What can be read that is nobody's list and no document: `/api/v1/webhooks/secret`."""
        lists = {f"{API}/{name}" for name in RESOURCES} | {f"{API}/"}
        plain = [path for path in self._paths if path.startswith(f"{API}/") and "{" not in path and path not in lists]
        return [offer for path in plain for offer in self.at(path, caller) if offer.method == "GET"]

    def resolved(self, schema: Json) -> Json:
        """A schema without `$ref` at its top."""
        while "$ref" in schema:
            own = {key: value for key, value in schema.items() if key != "$ref"}
            schema = {**self._schemas[schema["$ref"].rpartition("/")[2]], **own}
        return schema


def resource_at(path: str) -> Resource | None:
    """The resource whose list or document is at a path."""
    name = path.removeprefix(f"{API}/").partition("/")[0]
    return RESOURCES.get(name) if path.startswith(f"{API}/") and path.count("/") <= 4 else None


def readable(caller: Caller) -> list[Resource]:
    """The resources that this caller may look at."""
    return [resource for name, resource in RESOURCES.items() if caller.role in roles_for(f"{name}|resource", "GET")]


def newest(resource: Resource) -> str:
    """The address of a resource's list, newest first."""
    return f"{API}/{resource.name}?sort=-{resource.newest}"


def _may(caller: Caller, endpoint: str, method: str, values: Json) -> bool:
    if caller.role not in roles_for(endpoint, method):
        return False
    return MODEL not in values or caller.may_use(values[MODEL])


def _filled(template: str, document: Json) -> str:
    """A path whose parts are fields of a document; one that is not there stays in braces."""
    for name, value in document.items():
        if isinstance(value, (str, int)) and not isinstance(value, bool) and name != "id":
            template = template.replace(f"{{{name}}}", str(value))
    return template
