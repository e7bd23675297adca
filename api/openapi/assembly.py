"""Puts the document together: every rule of the URL map, every schema that something refers to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from api.dialects import DIALECTS
from api.dialects.base import Dialect
from api.idempotency import ENDPOINTS as KEYED
from api.openapi import shared
from api.openapi.describe import SCHEMAS, Answer, Media, Operation, Query, Schema
from api.openapi.paths import Undescribed, described, methods_of, path_of, path_schemas
from api.openapi.resources import fields_undescribed, lacking, schemas_of
from api.resources import RESOURCES
from api.version import VERSION as VERSION

INFO = {
    "title": "Almanac",
    "version": VERSION,
    "summary": "A model server that remembers: every prediction is a document that can be queried.",
    "description": "Every request but health checks needs a key. Errors have one shape everywhere, but where "
    "other servers' protocols are spoken, which have their own: `_error` with the status and a message, and `_issues` "
    "that name each field, or place in what was sent, with what was expected and what came. A path answers a "
    "method that it does not have with 405.\n\n"
    "Every answer has `X-Content-Type-Options`, `Content-Security-Policy`, `Referrer-Policy` and `Cache-Control`; with "
    "TLS `Strict-Transport-Security`; where requests are limited, `RateLimit-Policy`, `RateLimit-Limit`, "
    "`RateLimit-Remaining` and `RateLimit-Reset`.\n\n"
    "A browser that opens an address (`Accept` prefers `text/html`) gets a page about the same.\n\n"
    "`/openapi.json?model=NAME` describes that model's rows and predictions exactly.\n\n"
    "What another program has written into the database is shown as it is there, and need not have the types that are "
    "described.",
    "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
}
TAGS = {
    "predict": "Rows in, predictions out; each is stored before it is answered.",
    "health": "Whether the process runs, and whether it can be sent requests.",
    "operations": "What is counted and timed, and this document.",
    "webhooks": "The secret that signs what the webhooks of jobs are sent.",
    **{dialect.name: dialect.about for dialect in DIALECTS},
}


def assemble(app: Flask) -> dict[str, Any]:
    """The document of an app. A route that is not described is left out; `undescribed` names it.

    Raises Undescribed for a resource that is not described at all: others may refer to it.
    """
    missing = [part for resource in RESOURCES.values() for part in lacking(resource)]
    if missing:
        raise Undescribed("; ".join(missing))
    paths: dict[str, Any] = {}
    used: set[str] = set()
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: (rule.rule, rule.endpoint)):
        for method in methods_of(rule):
            try:
                operation = described(app, rule, method)
            except Undescribed:
                continue
            if operation is None:
                continue
            item = paths.setdefault(path_of(rule), {"parameters": _path_parameters(path_schemas(rule), operation)})
            item[method.lower()] = _operation(
                operation,
                public=rule.endpoint in app.extensions["public"],
                keyed=rule.endpoint in KEYED and method == "POST",
                parts=bool(rule.arguments),
                dialect=next((dialect for dialect in DIALECTS if dialect.name == rule.endpoint.split(".")[0]), None),
            )
            used.add(operation.tag)
    schemas = dict(SCHEMAS)
    for resource in RESOURCES.values():
        schemas |= schemas_of(resource)
    components = {
        "schemas": schemas,
        "responses": shared.responses()
        | {name: response for dialect in DIALECTS for name, response in shared.responses(dialect).items()},
        "parameters": shared.header_parameters(DIALECTS),
        "headers": shared.headers(DIALECTS),
        "securitySchemes": shared.SECURITY_SCHEMES,
    }
    tags = {name: resource.about for name, resource in RESOURCES.items()} | TAGS
    document = {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [{"url": "/", "description": "This server"}],
        "security": shared.SECURITY,
        "tags": [{"name": name, "description": text} for name, text in tags.items() if name in used],
        "paths": paths,
        "components": components,
    }
    components["schemas"] = _reached(document, schemas)
    return document


def undescribed(app: Flask) -> list[str]:
    """What the document of an app lacks, each with what to write where; empty where nothing does."""
    resources = RESOURCES.values()
    missing = [part for resource in resources for part in (*lacking(resource), *fields_undescribed(resource))]
    tags = RESOURCES.keys() | TAGS.keys()
    for rule in app.url_map.iter_rules():
        for method in methods_of(rule):
            try:
                operation = described(app, rule, method)
            except Undescribed as error:
                if str(error) not in missing:
                    missing.append(str(error))
                continue
            if operation is None:
                continue
            if operation.tag not in tags:
                missing.append(
                    f"{operation.id}: the tag {operation.tag!r} is not among TAGS in api/openapi/assembly.py"
                )
            missing += [
                f"{method} {rule.rule}: {name!r} in the path is not described: add it to PATH in "
                "api/openapi/shared.py, or to the operation's `path`"
                for name in path_schemas(rule)
                if name not in shared.PATH and name not in operation.path
            ]
    return missing


def _path_parameters(schemas: Mapping[str, Schema], operation: Operation) -> list[dict[str, Any]]:
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": operation.path.get(name) or shared.PATH.get(name, {}).get("description", ""),
            "schema": schema,
        }
        for name, schema in schemas.items()
    ]
    return [*parameters, shared.header_parameter("X-Request-ID")]


def _operation(
    operation: Operation, *, public: bool, keyed: bool, parts: bool, dialect: Dialect | None
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
    }
    if operation.description:
        made["description"] = operation.description
    headers = (*operation.headers, *(("Idempotency-Key",) if keyed else ()))
    parameters = [*map(_query, operation.query), *map(shared.header_parameter, headers)]
    if parameters:
        made["parameters"] = parameters
    if operation.body is not None:
        made["requestBody"] = {
            **({"description": operation.body.description} if operation.body.description else {}),
            "content": {kind: _media(media) for kind, media in operation.body.content.items()},
            "required": operation.body.required,
            **({"x-any-type": True} if operation.body.any_type else {}),
        }
    made["responses"] = _responses(operation, public=public, keyed=keyed, parts=parts, dialect=dialect)
    if public:
        made["security"] = [{}, *shared.SECURITY] if operation.key_optional else []
    return made


def _responses(
    operation: Operation, *, public: bool, keyed: bool, parts: bool, dialect: Dialect | None
) -> dict[str, Any]:
    answers = {status: _answer(answer, keyed=keyed) for status, answer in operation.answers.items()}
    common = shared.common_errors(public=public, body=operation.body is not None, path=parts, keyed=keyed)
    if dialect is not None:
        common = [dialect.status(status) for status in common]
    errors = dict.fromkeys((status for status in common if status not in operation.never), "") | dict(operation.errors)
    for status, text in errors.items():
        if status not in answers:
            answers[status] = (
                shared.error_response(status, text, dialect) if text else shared.error_ref(status, dialect)
            )
    return {str(status): answers[status] for status in sorted(answers)}


def _answer(answer: Answer, *, keyed: bool) -> dict[str, Any]:
    headers = (*answer.headers, *(("Idempotency-Replayed",) if keyed else ()))
    made: dict[str, Any] = {"description": answer.description, "headers": shared.response_headers(headers)}
    if answer.content:
        made["content"] = {kind: _media(media) for kind, media in answer.content.items()}
    return made


def _media(media: Media) -> dict[str, Any]:
    made: dict[str, Any] = {"schema": media.schema}
    if media.examples:
        made["examples"] = {name: {"value": value} for name, value in media.examples.items()}
    if media.encoding:
        made["encoding"] = dict(media.encoding)
    if media.item is not None:
        made["x-itemSchema"] = media.item  # as OpenAPI 3.2 has itemSchema
    return made


def _query(query: Query) -> dict[str, Any]:
    made: dict[str, Any] = {"name": query.name, "in": "query", "description": query.description, "schema": query.schema}
    if query.example is not None:
        made["example"] = query.example
    return made


def _reached(document: Mapping[str, Any], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
    """The schemas that the rest of the document refers to, and those that these refer to."""
    reached: set[str] = set()
    components = {name: part for name, part in document["components"].items() if name != "schemas"}
    waiting = _referred([document["paths"], components])
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting |= _referred(schemas[name])
    return {name: schemas[name] for name in sorted(reached)}


def _referred(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        found = value.get("$ref")
        own = {found.rpartition("/")[2]} if isinstance(found, str) and "/schemas/" in found else set()
        return own.union(*map(_referred, value.values()))
    if isinstance(value, (list, tuple)):
        return set().union(*map(_referred, value))
    return set()
