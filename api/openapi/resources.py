"""Eve's resources as operations: derived from what a `Resource` says of itself, act by act."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from api.openapi.describe import JSON, Act, Answer, Body, Media, Operation, Query, Schema, named, record, ref
from api.openapi.json_schema import NoSchema, component_name, document_schema, filter_schema, object_schema
from api.query import ITEM_PARAMETERS, LIST_PARAMETERS, MOST_PER_PAGE, PAGE_SIZE
from api.resources.base import Resource

NDJSON = "application/x-ndjson"
MOST_IN_POST = 1000

#: (endpoint's kind, method) to the act.
ACTS = {
    ("resource", "GET"): "list",
    ("resource", "POST"): "create",
    ("item_lookup", "GET"): "read",
    ("item_lookup", "PATCH"): "change",
    ("item_lookup", "DELETE"): "delete",
}
WRITE_ERRORS = (412, 428)
#: Errors of each act, beyond those that every operation may answer.
_ERRORS: Mapping[str, tuple[int, ...]] = {
    "list": (),
    "create": (415, 422),
    "read": (),
    "change": (415, 422, *WRITE_ERRORS),
    "delete": WRITE_ERRORS,
}
_SUMMARIES = {
    "list": "List {plural}",
    "create": "Store a new {singular}, or several",
    "read": "Get {a} {singular}",
    "change": "Change {a} {singular}",
    "delete": "Delete {a} {singular}",
}
_IDS = {"list": "list{s}", "create": "create{s}", "read": "get{}", "change": "update{}", "delete": "delete{}"}

_LINK = record({"href": {"type": "string"}}, ["href"])
META = named(
    "ListMeta",
    record(
        {
            "page": {"type": "integer", "minimum": 1},
            "max_results": {"type": "integer", "minimum": 1},
            "total": {"type": "integer", "minimum": 0, "description": "How many match; with `count=true`."},
        },
        ["page", "max_results"],
    ),
)
LINKS = named(
    "ListLinks", record({"self": _LINK, "next": _LINK}, ["self"], "`next` is there where there is a next page.")
)


def operation_for(resource: Resource, kind: str, method: str) -> Operation:
    """The operation of one method at a resource's list (`resource`) or document (`item_lookup`)."""
    act = ACTS[kind, method]
    told = resource.acts.get(act, Act())
    words = {
        "plural": resource.name,
        "singular": resource.singular,
        "a": "an" if resource.singular[0] in "aeiou" else "a",
    }
    name = component_name(resource.name)
    return Operation(
        id=_IDS[act].format(name, s=resource.name[:1].upper() + resource.name[1:]),
        tag=resource.name,
        summary=told.summary or _SUMMARIES[act].format(**words),
        description=told.description,
        answers=_answers(resource, act, told),
        errors={**dict.fromkeys(_ERRORS[act], ""), **told.errors},
        body=_body(resource, act, told),
        query=_query(resource, act),
        headers=(*_headers(resource, act), *told.headers),
    )


def _headers(resource: Resource, act: str) -> tuple[str, ...]:
    if act == "read":
        return ("If-None-Match",) if resource.conditional else ()
    return ("If-Match",) if act in ("change", "delete") else ()


def _answers(resource: Resource, act: str, told: Act) -> dict[int, Answer]:
    name, example = component_name(resource.name), resource.example
    document = ref(name)
    if act == "list":
        links = {"self": {"href": f"/api/v1/{resource.name}"}}
        page = {"_items": [example], "_meta": {"page": 1, "max_results": PAGE_SIZE}, "_links": links}
        lines: Schema = {"type": "string", "description": f"Every match as a stream, one {resource.singular} a line."}
        content = {JSON: Media(ref(f"{name}List"), {"page": page}), NDJSON: Media(lines, item=document)}
        description = "A page; with `Accept: application/x-ndjson` every match."
        return {200: Answer(description, content, ("Last-Modified", "X-Total-Count"))}
    if act == "create":
        media = Media({"anyOf": [document, ref(f"{name}Created")]}, {"one": {**example, "_status": "OK"}})
        return {201: Answer("As it was stored; a list for a list.", {JSON: media}, ("Location", *told.answers))}
    if act == "delete":
        return {204: Answer("It is gone.", {}, told.answers)}
    if act == "change":
        media = Media(document, {"document": {**example, "_status": "OK"}})
        return {200: Answer("As it is now.", {JSON: media}, ("ETag", *told.answers))}
    read = Answer(
        "The document.", {JSON: Media(document, {"document": example})}, ("ETag", "Last-Modified", *told.answers)
    )
    same = Answer("It still has the entity tag of If-None-Match.", {}, ("ETag",))
    return {200: read, 304: same} if resource.conditional else {200: read}


def _body(resource: Resource, act: str, told: Act) -> Body | None:
    name = component_name(resource.name)
    if act == "create":
        one = ref(f"{name}Create")
        many = {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_IN_POST}
        return Body(
            {JSON: Media({"anyOf": [one, many]}, told.examples), **told.forms},
            f"One, or a list of up to {MOST_IN_POST}, which are stored all or none.",
        )
    if act == "change":
        content = {JSON: Media(ref(f"{name}Change"), told.examples), **told.forms}
        return Body(content, "The fields to change; others stay.")
    return None


def schemas_of(resource: Resource) -> dict[str, Schema]:
    """The schemas that a resource's operations refer to, by name. Raises NoSchema."""
    name = component_name(resource.name)
    items = {"type": "array", "items": ref(name)}
    ok = {"type": "string", "const": "OK"}
    return {
        name: document_schema(resource),
        f"{name}List": record({"_items": items, "_meta": META, "_links": LINKS}, ["_items", "_meta", "_links"]),
        f"{name}Created": record({"_status": ok, "_items": items}, ["_status", "_items"]),
        f"{name}Create": object_schema(resource.schema, "create"),
        f"{name}Change": object_schema(resource.schema, "change"),
    }


def _query(resource: Resource, act: str) -> tuple[Query, ...]:
    names = LIST_PARAMETERS if act == "list" else ITEM_PARAMETERS if act == "read" else frozenset()
    if not resource.embeddable:
        names = names - {"embedded"}
    return tuple(_parameter(name, resource) for name in _ORDER if name in names)


_ORDER = ("where", "sort", "projection", "embedded", "page", "max_results", "count", "pretty")


def _json(schema: Schema) -> Schema:
    # Without contentMediaType, for which Swagger UI would have people choose a file.
    return {"type": "string", "contentSchema": schema}


def _flags(names: Iterable[str]) -> Schema:
    return {
        "type": "object",
        "additionalProperties": {"enum": [0, 1]},
        **({"propertyNames": {"enum": list(names)}} if names else {}),
    }


def _parameter(name: str, resource: Resource) -> Query:
    embeddable = resource.embeddable
    known: dict[str, tuple[Schema, str, Any]] = {
        "where": (
            _json(filter_schema(resource)),
            "Which documents: a filter in MongoDB's language, as JSON. Values are cast by their field's type: ids and "
            "times are strings.",
            '{"_created": {"$gte": "2026-01-01T00:00:00Z"}}',
        ),
        "sort": (
            {"type": "string"},
            "Fields with commas between, the first counts most; - in front: downwards. By `_id` where nothing is said.",
            "-_created",
        ),
        "projection": (
            _json(_flags(())),
            "Fields to show (all 1), or not to show (all 0), as JSON. Long tensors are shown in lists where they are "
            "named here.",
            '{"owner": 1}',
        ),
        "embedded": (
            _json(_flags(embeddable)),
            f"Fields whose documents are put in the place of their ids, as JSON: {', '.join(embeddable)}.",
            "{" + ", ".join(f'"{field}": 1' for field in embeddable) + "}",
        ),
        "page": ({"type": "integer", "minimum": 1, "maximum": 10**9, "default": 1}, "Which page.", 1),
        "max_results": (
            {"type": "integer", "minimum": 1, "maximum": MOST_PER_PAGE, "default": PAGE_SIZE},
            "Documents on a page.",
            PAGE_SIZE,
        ),
        "count": ({"type": "boolean", "default": False}, "Whether `_meta.total` says how many match.", True),
        "pretty": ({"type": "string"}, "Whatever its value: JSON is indented.", None),
    }  # fmt: skip
    schema, description, example = known[name]
    return Query(name, schema, description, example)


def lacking(resource: Resource) -> list[str]:
    """What a resource must say of itself to be described at all and does not, each with where it is to say it."""
    place = f"api/resources/: {type(resource).__name__}"
    names = [name for name in ("singular", "about", "example") if not getattr(resource, name, None)]
    if names:
        return [f"{place} has no `{name}`" for name in names]
    try:
        schemas_of(resource)
    except NoSchema as error:
        return [f"{place}.schema: {error}"]
    return []


def fields_undescribed(resource: Resource) -> list[str]:
    """The fields of a resource that are not described, each with what to do."""
    place = f"api/resources/: {type(resource).__name__}.schema"
    return [
        f'{place}: the field {path!r} has no description: add **described("...")'
        for path, rules in _fields(resource.schema)
        if not rules.get("meta", {}).get("description")
    ]


def _fields(schema: Mapping[str, Mapping[str, Any]], base: str = "") -> Iterable[tuple[str, Mapping[str, Any]]]:
    for name, rules in schema.items():
        yield f"{base}{name}", rules
        inner = rules.get("schema", {})
        if rules.get("type") == "dict" and inner:
            yield from _fields(inner, f"{base}{name}.")
        if rules.get("type") == "list" and inner.get("type") == "dict":
            yield from _fields(inner.get("schema", {}), f"{base}{name}[].")
