"""What a resource is: its Eve definition, and what happens where Eve's own writes are not enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pymongo.client_session import ClientSession

from api.openapi.describe import Act
from ml.audit.entries import Entry, owner_in, recorded
from ml.database.client import Document
from ml.database.documents import etag_filter, stamp_new, stamp_update
from ml.identity.caller import ROLES, Caller, Role
from ml.service import Service

Roles = frozenset[Role]
Schema = dict[str, dict[str, Any]]

ALL: Roles = frozenset(ROLES)
ADMINS: Roles = frozenset({"admin"})
EDITORS: Roles = ADMINS | {"editor"}
USERS: Roles = EDITORS | {"user"}

AUTOMATIC = {"_id": "objectid", "_created": "datetime", "_updated": "datetime", "_etag": "string"}

#: Cerberus' types to those of ml/database/filters.py.
FILTER_TYPES = {
    "objectid": "objectid",
    "datetime": "datetime",
    "string": "string",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "boolean": "boolean",
    "dict": "any",
    "list": "any",
    "tensor": "any",
}


def described(text: str, **more: Any) -> dict[str, Any]:
    """The rule that says what a field is, for the OpenAPI document; to Cerberus it is no rule.

    `stored` and `sent` in `more` are JSON Schema that is laid over what the other rules mean: of the field as it is
    answered, and as clients send it.
    """
    return {"meta": {"description": text, **more}}


class Resource:
    """One Eve resource. Subclasses state name, schema and methods; the hooks just write the document by default."""

    name: ClassVar[str]
    #: What one document is called, and what it is, in a sentence.
    singular: ClassVar[str]
    about: ClassVar[str]
    schema: ClassVar[Schema]
    #: A document as it is answered, of the JSON that clients see.
    example: ClassVar[Document]
    #: What the OpenAPI document says of `list`, `create`, `read`, `change` and `delete` beyond what the schema does.
    acts: ClassVar[Mapping[str, Act]] = {}
    resource_methods: ClassVar[list[str]] = ["GET"]
    item_methods: ClassVar[list[str]] = ["GET"]
    #: The roles that may GET, and those that may do what else there is.
    readers: ClassVar[Roles] = ALL
    writers: ClassVar[Roles] = USERS
    #: Fields that are sent, or answered to a POST, and never stored.
    secrets: ClassVar[tuple[str, ...]] = ()
    #: The field of which each value is there once, where there is one.
    unique: ClassVar[str | None] = None
    #: Documents in one POST.
    most_in_post: ClassVar[int] = 1000
    #: What lists on pages show of each document, besides `_id` and `_created`.
    columns: ClassVar[tuple[str, ...]] = ()
    #: The field by which pages sort documents: `_created` where an index has that of each owner's.
    newest: ClassVar[str] = "_id"
    #: Fields that hold a tensor, or tensors by name.
    tensors: ClassVar[tuple[str, ...]] = ()
    #: Whether GET of one document heeds If-None-Match and If-Modified-Since.
    conditional: ClassVar[bool] = True

    def eve(self) -> dict[str, Any]:
        """The entry of Eve's DOMAIN."""
        return {
            "schema": {**self.schema, "_id": {"type": "objectid", "readonly": True}},
            "resource_methods": self.resource_methods,
            "item_methods": self.item_methods,
            "datasource": {"default_sort": [("_id", 1)]},
            "mongo_write_concern": {"w": "majority", "j": True},
            # Tags are stamped, never a digest of the content; Eve would dump every tensor at each write.
            "etag_ignore_fields": list(self.schema),
            # api/embed.py does it with one query a page.
            "embedding": False,
        }

    def fields(self) -> dict[str, str]:
        """Every field that a filter or a sort may name, with its type."""
        stored = {name: rules for name, rules in self.schema.items() if name not in self.secrets}
        return {**AUTOMATIC, **_flat(stored)}

    @property
    def embeddable(self) -> list[str]:
        """Fields that can be embedded."""
        return [name for name, rules in self.schema.items() if rules.get("data_relation", {}).get("embeddable")]

    def steps(self, document: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        """Changes that a page has a button for, by what it says: those that the document's state allows."""
        return {}

    def allows(self, service: Service, document: Mapping[str, Any], caller: Caller, method: str) -> bool:
        """Whether a document's state and owner let a caller whose role may do it PATCH or DELETE it."""
        return True

    def before_insert(self, service: Service, document: Document, caller: Caller) -> None:
        """Complete a document that passed validation; it is stored next."""
        stamp_new(document, caller.owner)

    def update(
        self,
        service: Service,
        before: Mapping[str, Any],
        changes: dict[str, Any],
        scope: Mapping[str, Any],
        entry: Entry | None = None,
    ) -> Document | None:
        """Write validated changes to the document that the caller saw as `before`; None where it is another by now."""
        stamp_update(changes)
        seen = {"$and": [{"_id": before["_id"]}, etag_filter(before["_etag"]), dict(scope)]}

        def work(session: ClientSession | None) -> Document | None:
            found: Document | None = service.db[self.name].find_one_and_update(
                seen, {"$set": changes}, return_document=True, session=session
            )
            if found is not None and entry is not None:
                entry.write(service.db, [found["_id"]], self.owner_of(found), session)
            return found

        return recorded(service.db, entry, work)

    def remove(
        self, service: Service, before: Mapping[str, Any], scope: Mapping[str, Any], entry: Entry | None = None
    ) -> bool:
        """Delete the document that the caller saw as `before`; False where it is another by now."""
        seen = {"$and": [{"_id": before["_id"]}, etag_filter(before["_etag"]), dict(scope)]}

        def work(session: ClientSession | None) -> bool:
            removed = service.db[self.name].delete_one(seen, session=session).deleted_count == 1
            if removed and entry is not None:
                entry.write(service.db, [before["_id"]], self.owner_of(before), session)
            return removed

        return recorded(service.db, entry, work)

    def owner_of(self, document: Mapping[str, Any]) -> str | None:
        """Whose a stored document is."""
        return owner_in(document)


def _flat(schema: Schema, base: str = "") -> dict[str, str]:
    flat = {}
    for name, rules in schema.items():
        path = f"{base}{name}"
        kinds = rules.get("type", "dict")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        inner = kinds
        if kinds == ["list"] and "type" in rules.get("schema", {}):
            inner = [rules["schema"]["type"]]
        flat[path] = "|".join(FILTER_TYPES[kind] for kind in inner)
        if kinds == ["dict"] and "schema" in rules:
            flat.update(_flat(rules["schema"], f"{path}."))
    return flat
