"""Eve's data layer, hardened: one shared client, strict queries, the owner filter on every path, durable writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from bson import ObjectId
from eve.io.mongo import Mongo
from flask import Flask, abort, g, request
from flask_pymongo import PyMongo
from pymongo.errors import PyMongoError
from werkzeug.exceptions import HTTPException

from api.auth.caller import current_caller
from api.errors import answer_to
from api.present import present
from api.query import Query
from api.resources import RESOURCES
from ml.database.casts import CastError, cast
from ml.database.client import Document, database_of
from ml.database.documents import derived_etag
from ml.database.transactions import transact
from ml.errors import Changed, ServiceError
from ml.service import Service

#: No read may hold the server longer than this.
MAX_TIME_MS = 15_000


class SharedMongo(Mongo):  # type: ignore[misc]  # Eve is not typed
    """Eve's MongoDB layer over the client that the app was made with.

    Eve's own parsers of `where`, `sort` and `projection` are never reached: api/query.py has read the request before.
    """

    #: Nothing is guessed from strings but what the schema says is an id or a time.
    serializers = {
        "objectid": lambda value: cast(value, "objectid"),
        "datetime": lambda value: cast(value, "datetime"),
    }

    def init_app(self, app: Flask) -> None:
        super().init_app(app)
        # Flask-PyMongo's handle, but on the one client there is: its init_app would open a second pool and let
        # clients send extended JSON.
        handle = PyMongo()
        handle.cx = app.config["MONGO_CLIENT"]
        handle.db = database_of(handle.cx)
        self.driver["MONGO"] = handle
        app.extensions["pymongo"] = handle

    def pymongo(self, resource: str | None = None, prefix: str | None = None) -> PyMongo:
        """The one handle, whatever is asked for: Eve's own would make a client."""
        return self.driver["MONGO"]

    def find(
        self, resource: str, req: Any, sub_resource_lookup: Mapping[str, Any] | None, perform_count: bool = True
    ) -> tuple[Iterator[Document], int | None]:
        """What a list, or the embedding of one document in another, asks for."""
        # Without a request it is an embedding: Eve asks for what a list refers to, by id.
        query = Query(where=dict(sub_resource_lookup or {}), max_results=0) if req is None else g.query
        spec = self._scoped(resource, query.where)
        cursor = self.cursor(resource, query, spec)
        total = None
        if query.count:
            total = self._collection(resource).count_documents(spec, maxTimeMS=MAX_TIME_MS)
        if not query.max_results:
            return (self._presented(resource, document, short=True) for document in cursor), total
        documents = list(cursor.skip(query.skip).limit(query.max_results + 1))
        g.more = len(documents) > query.max_results
        return iter([self._presented(resource, d, short=True) for d in documents[: query.max_results]]), total

    def cursor(self, resource: str, query: Query, spec: Mapping[str, Any] | None = None) -> Any:
        """A cursor over everything that a query matches and the caller may see."""
        cursor = self._collection(resource).find(
            self._scoped(resource, query.where) if spec is None else spec, self._projection(resource, query.projection)
        )
        return cursor.sort(query.sort or [("_id", 1)]).max_time_ms(MAX_TIME_MS)

    def find_one(
        self,
        resource: str,
        req: Any,
        check_auth_value: bool = True,
        force_auth_field_projection: bool = False,
        mongo_options: Any = None,
        **lookup: Any,
    ) -> Document | None:
        """The one document at a URL, if it is the caller's to see."""
        reading = request.method in ("GET", "HEAD")
        projection = g.query.projection if reading and "query" in g else None
        document: Document | None = self._collection(resource).find_one(
            self._scoped(resource, _cast_lookup(resource, lookup)),
            self._projection(resource, projection),
            max_time_ms=MAX_TIME_MS,
        )
        if document is None:
            return None
        if req is not None:
            self._match(resource, req, document)
        return self._presented(resource, document, short=False) if reading else _sound(document)

    def insert(self, resource: str, doc_or_docs: Any) -> list[ObjectId]:
        """Store validated documents, all or none."""
        documents: list[Document] = [doc_or_docs] if isinstance(doc_or_docs, dict) else doc_or_docs
        caller, collection = current_caller(), self._collection(resource)
        for document in documents:
            document["_id"] = ObjectId()
            RESOURCES[resource].before_insert(self._service, document, caller)
        if len(documents) == 1:
            collection.insert_one(documents[0])
        else:
            transact(collection.database.client, lambda session: collection.insert_many(documents, session=session))
        return [document["_id"] for document in documents]

    def update(self, resource: str, id_: Any, updates: dict[str, Any], original: Document) -> None:
        """Write a PATCH to the document that was read, and to no later one."""
        scope = current_caller().scope(resource)
        changes = {name: value for name, value in updates.items() if name not in ("_etag", "_updated")}
        try:
            after = RESOURCES[resource].update(self._service, original, changes, scope)
        except Changed:
            after = None
        except (ServiceError, PyMongoError) as error:
            # Eve lets only HTTP errors through from here; it would make a 400 of this.
            raise HTTPException(response=answer_to(error)) from error
        if after is None:
            raise self.OriginalChangedError
        updates.clear()
        updates.update(after)

    def remove(self, resource: str, lookup: Mapping[str, Any]) -> None:
        """Delete the document that was read, and no later one."""
        try:
            removed = RESOURCES[resource].remove(self._service, g.original, current_caller().scope(resource))
        except Changed:
            removed = False
        if not removed:
            abort(412)

    def replace(self, resource: str, id_: Any, document: Document, original: Document) -> None:
        """No resource has PUT."""
        abort(405)

    def find_one_raw(self, resource: str, **lookup: Any) -> Document | None:
        """As `find_one` without a request's projection."""
        return self.find_one(resource, None, **lookup)

    def find_list_of_ids(self, resource: str, ids: list[Any], client_projection: Any = None) -> list[Document]:
        """The caller's own of these documents."""
        return list(self.cursor(resource, Query(where={"_id": {"$in": ids}})))

    def aggregate(self, resource: str, pipeline: Any, options: Any) -> Any:
        """Never exposed: it would ignore the owner filter."""
        abort(405)

    def is_empty(self, resource: str) -> bool:
        """Whether the caller sees nothing in a resource."""
        return self._collection(resource).find_one(self._scoped(resource, {}), {"_id": True}) is None

    @property
    def _service(self) -> Service:
        service: Service = self.app.extensions["service"]
        return service

    def _collection(self, resource: str) -> Any:
        return self.pymongo().db[RESOURCES[resource].name]

    def _scoped(self, resource: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        parts = [dict(part) for part in (spec, current_caller().scope(resource)) if part]
        return {"$and": parts} if len(parts) > 1 else parts[0] if parts else {}

    def _projection(self, resource: str, wanted: Mapping[str, bool] | None) -> dict[str, bool]:
        """The fields to read: those of the schema, or of them what the client asked for, with the stamps."""
        stamps = ["_id", "_created", "_updated", "_etag"]
        known = [*RESOURCES[resource].schema, *stamps]
        if not wanted:
            return dict.fromkeys(known, True)
        if any(wanted.values()):
            return dict.fromkeys([*(name for name, shown in wanted.items() if shown), *stamps], True)
        hidden = wanted.keys() - set(stamps)
        return {name: True for name in known if name not in hidden}

    def _presented(self, resource: str, document: Document, *, short: bool) -> Document:
        asked = g.query.projection if "query" in g else None
        whole = document.keys() >= {"_etag"} or asked is None
        document.setdefault("_etag", derived_etag(document) if whole else None)
        return present(resource, _sound(document), short=short and not asked)

    def _match(self, resource: str, req: Any, document: Document) -> None:
        """Let Eve compare entity tags as HTTP has it: `*` matches always, a list matches where one of it does."""
        document.setdefault("_etag", derived_etag(document))
        tags = [tag.strip() for tag in (req.if_match or "").split(",")]
        if tags == ["*"] or document["_etag"] in tags:
            req.if_match = document["_etag"]
        if not RESOURCES[resource].conditional:
            req.if_none_match = req.if_modified_since = None
        g.original = document


def _cast_lookup(resource: str, lookup: Mapping[str, Any]) -> dict[str, Any]:
    fields = RESOURCES[resource].fields()
    try:
        return {
            name: cast(value, fields[name]) if isinstance(value, str) and name in fields else value
            for name, value in lookup.items()
        }
    except CastError:
        abort(404)


def _sound(document: Document) -> Document:
    """Drop stamps that another program wrote with a wrong type; Eve counts on them."""
    for name in ("_created", "_updated"):
        if name in document and not isinstance(document[name], datetime):
            del document[name]
    return document
