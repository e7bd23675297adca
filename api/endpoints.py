"""The views of Eve's resources: the request read strictly before Eve sees it, its answers brought to one shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, NoReturn
from urllib.parse import urlencode

from bson import ObjectId
from eve import Eve
from eve.endpoints import collections_endpoint, item_endpoint
from eve.methods.patch import patch_internal
from eve.methods.post import post_internal
from eve.render import send_response
from flask import Response, current_app, g, request, stream_with_context
from pymongo.errors import BulkWriteError, DuplicateKeyError
from werkzeug.exceptions import MethodNotAllowed, PreconditionFailed

from api.data import SharedMongo
from api.errors import ApiError
from api.hooks import hook
from api.new_ids import current_claim
from api.openapi.describe import JSON, Answer, Media, Operation, describes, no_operation, record
from api.present import present
from api.query import Query, parse_query
from api.render import dumps
from api.requests import json_body, refuse_secrets
from api.resources import RESOURCES
from api.responses import json_answer
from api.routes.input_files import input_from_form
from api.routes.jobs import answer_when_ended

NDJSON = "application/x-ndjson"

#: Parameters of pages, which a stream does not have.
PAGES = ("page", "max_results", "count")
#: Documents that a stream reads at once where others are embedded in them.
CHUNK = 100
#: Tries of a write with `If-Match: *` while others change the document.
MOST_TRIES = 10


def register(app: Eve) -> None:
    """Put these views where Eve's own are."""
    for name in RESOURCES:
        app.view_functions[f"{name}|resource"] = resource_view
        app.view_functions[f"{name}|item_lookup"] = item_view
        app.view_functions[f"{name}|item_post_override"] = refuse_post
    app.view_functions["home"] = home_view
    hook(app, "on_fetched_resource", _finish_list)


_CHILD = record({"title": {"type": "string"}, "href": {"type": "string"}}, ["title", "href"])


@describes(
    Operation(
        id="listResources",
        tag="operations",
        summary="List the resources",
        answers={
            200: Answer(
                "Their names and URLs.",
                {
                    JSON: Media(
                        record(
                            {"_links": record({"child": {"type": "array", "items": _CHILD}}, ["child"])}, ["_links"]
                        ),
                        {"some": {"_links": {"child": [{"title": "inputs", "href": "/api/v1/inputs"}]}}},
                    )
                },
            )
        },
    )
)
def home_view() -> Response:
    """The resources that there are."""
    links = [{"title": name, "href": f"{request.path.rstrip('/')}/{name}"} for name in RESOURCES]
    return json_answer({"_links": {"child": links}})


def resource_view(**lookup: Any) -> Any:
    """A list, as pages or as a stream of every match; or new documents."""
    name = _resource_name()
    if request.method == "POST":
        return _create(name)
    g.query = parse_query(request.args, RESOURCES[name], item=False)
    g.more = False
    if request.accept_mimetypes.best_match(["application/json", NDJSON]) == NDJSON:
        return _stream(name)
    return collections_endpoint(**lookup)


def item_view(**lookup: Any) -> Any:
    """One document: read, changed or deleted."""
    name = _resource_name()
    if request.method in ("GET", "HEAD"):
        g.query = parse_query(request.args, RESOURCES[name], item=True)
    else:
        _no_parameters()
    if request.method == "GET" and name == "jobs":
        return answer_when_ended(ObjectId(lookup["_id"]), lambda: item_endpoint(**lookup))
    if request.method == "PATCH":
        return _change(name, lookup)
    if request.method == "DELETE":
        return _while_it_changes(lambda: item_endpoint(**lookup))
    return item_endpoint(**lookup)


@no_operation
def refuse_post(**_: Any) -> NoReturn:
    """Eve routes a POST to a document for clients that override the method, which is not allowed here."""
    raise MethodNotAllowed([*RESOURCES[_resource_name()].item_methods, "HEAD", "OPTIONS"])


def _create(name: str) -> Any:
    _no_parameters()
    if request.mimetype == "multipart/form-data" and name == "inputs":
        payload: Any = input_from_form(request)
    else:
        payload = json_body()
        refuse_secrets(request.get_data())
    many = isinstance(payload, list)
    documents = payload if many else [payload]
    if not documents:
        raise ApiError(422, "there is nothing to store", {"body": "expected one document or more, got an empty list"})
    most = RESOURCES[name].most_in_post
    if len(documents) > most:
        raise ApiError(422, "too many documents", {"body": f"expected at most {most} documents, got {len(documents)}"})
    _refuse_others(documents, many)
    answer, status = _stored(name, documents)
    headers = []
    if status == 201:
        for document in answer.get("_items", [answer]):
            present(name, document, short=False)
        if not many:
            headers = [("Location", f"{request.path.rstrip('/')}/{answer['_id']}")]
        if RESOURCES[name].secrets:
            headers.append(("Cache-Control", "no-store"))
    if many and "_items" not in answer:  # Eve unwraps a list of one
        error = answer.pop("_error", None)
        answer = {"_status": answer["_status"], "_items": [answer], **({"_error": error} if error else {})}
    return send_response(name, (answer, None, None, status, headers))


def _stored(name: str, documents: list[Any]) -> tuple[dict[str, Any], int]:
    """Eve's answer to new documents, and its status; or to those that an earlier run of this request has stored."""
    data: SharedMongo = current_app.data  # type: ignore[attr-defined]
    claim = current_claim()
    ids = claim.next_ids(len(documents)) if claim is not None else []
    before = data.made_before(name, documents, ids) if claim is not None and claim.again else []
    if not before:
        try:
            answer, _, _, status, _ = post_internal(name, documents)
            return answer, status
        except (DuplicateKeyError, BulkWriteError):
            # Another run of it, taken for dead, was alive and quicker.
            before = data.made_before(name, documents, ids) if ids else []
            if not before:
                raise
    items = [{**document, "_status": "OK"} for document in before]
    return items[0] if len(items) == 1 else {"_status": "OK", "_items": items}, 201


def _refuse_others(documents: list[Any], many: bool) -> None:
    """Refuse what is no object before Eve, which would take a string for JSON once more."""
    wrong = {
        (f"[{index}]" if many else "body"): f"expected an object, got {type(document).__name__}"
        for index, document in enumerate(documents)
        if not isinstance(document, dict)
    }
    if wrong:
        raise ApiError(422, "documents are objects", wrong)


def _change(name: str, lookup: dict[str, Any]) -> Any:
    body = json_body()
    refuse_secrets(request.get_data())
    if not isinstance(body, dict):
        raise ApiError(
            422, "a change is an object of fields", {"body": f"expected an object, got {type(body).__name__}"}
        )
    answer, modified, etag, status = _while_it_changes(
        lambda: patch_internal(name, dict(body), concurrency_check=True, **lookup)
    )
    if status == 200:
        # Eve lays the change over what was there before: fields that went with it are to be gone.
        answer = {field: value for field, value in answer.items() if field in g.after or field[:1] == "_"}
        present(name, answer, short=False)
    elif "_error" not in answer:
        answer["_error"] = {"code": status, "message": "the change does not fit"}
    return send_response(name, (answer, modified, etag, status))


def _while_it_changes(write: Callable[[], Any]) -> Any:
    """A write, tried again where `If-Match: *` makes it right whatever others do to the document meanwhile."""
    tries = MOST_TRIES if request.headers.get("If-Match", "").strip() == "*" else 1
    while True:
        try:
            return write()
        except PreconditionFailed:
            tries -= 1
            if not tries:
                raise


def _stream(name: str) -> Response:
    """Every match, a JSON document a line. An error that comes while it runs cuts the stream, never its status."""
    query: Query = g.query
    data: SharedMongo = current_app.data  # type: ignore[attr-defined]
    _no_pages()
    cursor = data.cursor(name, query)
    first = list(islice(cursor, 1))  # what is wrong with the query shows here, before the status is sent
    documents, at_once = chain(first, cursor), CHUNK if query.embedded else 1

    def lines() -> Iterator[bytes]:
        with cursor:
            while chunk := list(islice(documents, at_once)):
                for document in data.presented(name, chunk, query, short=False):
                    yield dumps(document)

    return Response(stream_with_context(lines()), mimetype=NDJSON)


def _finish_list(_: str, response: dict[str, Any]) -> None:
    """`_meta` and `_links` of a list."""
    query = g.query
    meta = {"page": query.page, "max_results": query.max_results}
    total = response.get("_meta", {}).get("total")
    if total is not None:
        meta["total"] = total
    response["_meta"] = meta
    response["_links"] = {"self": {"href": _href(query.page)}}
    if g.more:
        response["_links"]["next"] = {"href": _href(query.page + 1)}


def _href(page: int) -> str:
    args = {name: value for name, value in request.args.items() if name != "page"}
    if page > 1:
        args["page"] = str(page)
    return request.path + ("?" + urlencode(args) if args else "")


def _no_pages() -> None:
    unused = {name: "has no meaning for a stream, which is every match" for name in PAGES if name in request.args}
    if unused:
        raise ApiError(400, "a stream has no pages: " + ", ".join(unused), unused)


def _no_parameters() -> None:
    if request.args:
        names = ", ".join(request.args)
        raise ApiError(
            400, f"a {request.method} takes no parameters, got {names}", dict.fromkeys(request.args, "unknown")
        )


def _resource_name() -> str:
    assert request.endpoint is not None
    return request.endpoint.split("|")[0]
