"""Eve's data layer, hardened: one shared client, strict queries, the owner filter on every path, durable writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from eve.io.mongo import Mongo
from flask import Flask, abort, g, request
from flask_pymongo import PyMongo
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError
from werkzeug.exceptions import HTTPException

from api.audit import entry_for
from api.auth.caller import current_caller
from api.embed import embed
from api.errors import ApiError, answer_to, from_service
from api.new_ids import new_id
from api.present import present
from api.query import Query
from api.resources import RESOURCES
from api.resources.base import Resource
from ml.audit.entries import recorded
from ml.database.casts import CastError, cast
from ml.database.client import READ_MS, Document, database_of
from ml.database.documents import derived_etag, is_etag
from ml.database.merging import by_owner
from ml.errors import Changed, ServiceError
from ml.service import Service

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
        """The page that a list asks for."""
        query: Query = g.query
        spec = self._scoped(resource, query.where)
        total = self._collection(resource).count_documents(spec, maxTimeMS=READ_MS) if query.count else None
        cursor = self.cursor(resource, query).skip(query.skip).limit(query.max_results + 1)
        # As they come: of long tensors little is kept, and a page of them would not fit into memory.
        documents = self.presented(resource, cursor, query, short=True)
        g.more = len(documents) > query.max_results
        return iter(documents[: query.max_results]), total

    def cursor(self, resource: str, query: Query) -> Any:
        """A cursor over everything that a query matches and the caller may see."""
        spec, projection = self._scoped(resource, query.where), self._projection(resource, query)
        order = query.sort or [("_id", 1)]
        if not spec and [name for name, _ in order] == ["_created"] == [RESOURCES[resource].newest]:
            spec = by_owner(self._collection(resource)) or spec
        return self._collection(resource).find(spec, projection).sort(order).max_time_ms(READ_MS)

    def presented(self, resource: str, found: Iterable[Document], query: Query, *, short: bool) -> list[Document]:
        """Stored documents as the caller asked to see them; they are changed and returned."""
        documents = []
        for document in found:
            if "_etag" not in _sound(document):
                document["_etag"] = None if query.projection else derived_etag(document)
            for path in query.hidden - {"_id", "_created", "_updated", "_etag"}:
                _hide(document, path)
            for name in ("_created", "_updated"):
                document.setdefault(name, EPOCH)  # as Eve has it for what came without it
            documents.append(present(resource, document, short=short, whole=query.shown))

        def read(other: str, ids: list[ObjectId]) -> list[Document]:
            asked = Query(where={"_id": {"$in": ids}})
            return self.presented(other, self.cursor(other, asked), asked, short=short)

        embed(resource, documents, query.embedded, read)
        return documents

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
        reading = request.method in ("GET", "HEAD") and "query" in g
        query: Query = g.query if reading else Query()
        spec = self._scoped(resource, _cast_lookup(resource, lookup))
        document = self._read(resource, spec, query)
        if document is None:
            if request.method == "DELETE":
                abort(404)  # Eve would say that it is done
            return None
        if "_etag" not in document:
            # Of a part of a document no tag can be told.
            whole = self._read(resource, spec, Query()) if query.projection else document
            if whole is None:
                return None
            document["_etag"] = derived_etag(whole)
        if req is not None:
            self._match(resource, req, document)
        return self.presented(resource, [document], query, short=False)[0] if reading else document

    def insert(self, resource: str, doc_or_docs: Any) -> list[ObjectId]:
        """Store validated documents, all or none."""
        documents: list[Document] = [doc_or_docs] if isinstance(doc_or_docs, dict) else doc_or_docs
        caller = current_caller()
        refused: dict[int, ApiError] = {}
        for index, document in enumerate(documents):
            document["_id"] = new_id()
            try:
                RESOURCES[resource].before_insert(self._service, document, caller)
            except ServiceError as error:
                refused[index] = from_service(error)
        if refused:
            raise _of_many(refused) if len(documents) > 1 else refused[0]
        secrets = [
            {name: document.pop(name) for name in RESOURCES[resource].secrets if name in document}
            for document in documents
        ]
        try:
            self._insert(RESOURCES[resource], documents)
        except (DuplicateKeyError, BulkWriteError) as error:
            raise _duplicate(RESOURCES[resource], error) from error
        for document, shown_once in zip(documents, secrets, strict=True):
            document.update(shown_once)
        return [document["_id"] for document in documents]

    def _insert(self, resource: Resource, documents: list[Document]) -> None:
        """Store documents with the entry that tells of them, one for each owner of some: all or none."""
        db, entry = self._service.db, entry_for("create", resource.name, 201)
        ids: dict[str | None, list[ObjectId]] = {}
        for document in documents:
            ids.setdefault(resource.owner_of(document), []).append(document["_id"])

        def work(session: ClientSession | None) -> None:
            if len(documents) == 1:
                db[resource.name].insert_one(documents[0], session=session)
            else:
                db[resource.name].insert_many(documents, session=session)
            for owner, some in ids.items():
                entry.write(db, some, owner, session)

        recorded(db, entry, work)

    def made_before(self, resource: str, documents: Sequence[Document], ids: Sequence[ObjectId]) -> list[Document]:
        """What is stored of a POST that was run before under the same ids, in order; empty where nothing is.

        It stored all or none, so one that is not there any more was deleted since: it is shown as it was sent.
        """
        cursor = self.cursor(resource, Query(where={"_id": {"$in": list(ids)}}))
        found = {document["_id"]: document for document in cursor}
        if not found:
            return []
        return [found.get(id_) or _as_sent(id_, document) for id_, document in zip(ids, documents, strict=True)]

    def update(self, resource: str, id_: Any, updates: dict[str, Any], original: Document) -> None:
        """Write a PATCH to the document that was read, and to no later one."""
        scope = current_caller().scope(resource)
        changes = {name: value for name, value in updates.items() if name not in ("_etag", "_updated")}
        try:
            entry = entry_for("change", resource, 200, changes) if changes else None
            after = RESOURCES[resource].update(self._service, original, changes, scope, entry)
        except Changed:
            after = None
        except (ServiceError, PyMongoError) as error:
            # Eve lets only HTTP errors through from here; it would make a 400 of this.
            raise HTTPException(response=answer_to(error)) from error
        if after is None:
            raise self.OriginalChangedError
        updates.clear()
        updates.update(after)
        g.after = after

    def remove(self, resource: str, lookup: Mapping[str, Any]) -> None:
        """Delete the document that was read, and no later one."""
        try:
            entry = entry_for("retire" if resource == "models" else "delete", resource, 204)
            removed = RESOURCES[resource].remove(self._service, g.original, current_caller().scope(resource), entry)
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
        return (
            self._collection(resource).find_one(self._scoped(resource, {}), {"_id": True}, max_time_ms=READ_MS) is None
        )

    @property
    def _service(self) -> Service:
        service: Service = self.app.extensions["service"]
        return service

    def _read(self, resource: str, spec: Mapping[str, Any], query: Query) -> Document | None:
        projection = self._projection(resource, query)
        found: Document | None = self._collection(resource).find_one(spec, projection, max_time_ms=READ_MS)
        return found if found is None else _sound(found)

    def _collection(self, resource: str) -> Any:
        return self.pymongo().db[RESOURCES[resource].name]

    def _scoped(self, resource: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        parts = [dict(part) for part in (spec, current_caller().scope(resource)) if part]
        return {"$and": parts} if len(parts) > 1 else parts[0] if parts else {}

    def _projection(self, resource: str, query: Query) -> dict[str, bool]:
        """The fields to read: those of the schema, or of them what the client asked for, with the stamps."""
        stamps = ["_id", "_created", "_updated", "_etag"]
        asked = [name for name, shown in (query.projection or {}).items() if shown]
        names = asked or [name for name in RESOURCES[resource].schema if name not in query.hidden]
        return dict.fromkeys([*names, *stamps], True)

    def _match(self, resource: str, req: Any, document: Document) -> None:
        """Let Eve compare entity tags as HTTP has it: `*` matches always, a list matches where one of it does."""
        tags = [tag.strip() for tag in (req.if_match or "").split(",")]
        if tags == ["*"] or document["_etag"] in tags:
            req.if_match = document["_etag"]
        if not RESOURCES[resource].conditional or ("query" in g and g.query.embedded):
            req.if_none_match = None  # what is shown changes without the tag
        if req.if_none_match is None or "_updated" not in document:
            # A time alone says too little: it has no milliseconds, and other programs do not write it.
            req.if_modified_since = None
        g.original = document


def _of_many(refused: Mapping[int, ApiError]) -> ApiError:
    """One answer to a list of documents of which these were refused."""
    first = next(iter(refused.values()))
    issues = {f"[{index}]": error.message for index, error in refused.items()}
    return ApiError(first.code, f"nothing was stored: {first.message}", issues, first.headers)


def _duplicate(resource: Resource, error: Exception) -> Exception:
    """The answer to a second document with a value that each may have once; else the error itself."""
    if resource.unique is None:
        return error
    return ApiError(422, "nothing was stored", {resource.unique: "expected one that is not taken: there is another"})


def _cast_lookup(resource: str, lookup: Mapping[str, Any]) -> dict[str, Any]:
    fields = RESOURCES[resource].fields()
    try:
        return {
            name: cast(value, fields[name]) if isinstance(value, str) and name in fields else value
            for name, value in lookup.items()
        }
    except CastError:
        abort(404)


def _as_sent(id_: ObjectId, document: Document) -> Document:
    """A document that was stored and is gone: what was sent, with the stamps that can still be told."""
    made = id_.generation_time
    return {"_id": id_, "_created": made, "_updated": made, "_etag": None, **document}


def _sound(document: Document) -> Document:
    """Drop stamps that another program wrote with a wrong type; Eve counts on them."""
    for name in ("_created", "_updated"):
        if name in document and not isinstance(document[name], datetime):
            del document[name]
    if "_etag" in document and not is_etag(document["_etag"]):
        del document["_etag"]
    return document


def _hide(value: Any, path: str) -> None:
    """Take out what lies at a dotted path, in every element where there are lists on the way."""
    name, _, rest = path.partition(".")
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict) and name in item:
            if rest:
                _hide(item[name], rest)
            else:
                del item[name]
