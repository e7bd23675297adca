"""The URL map's rules as the paths of the document."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from api.openapi.describe import Operation, operation_of
from api.openapi.resources import ACTS, lacking, operation_for
from api.resources import RESOURCES

#: What Flask answers by itself.
AUTOMATIC_METHODS = frozenset({"HEAD", "OPTIONS"})
#: The parts of a path that Eve and the routes name differently, and that are the same: a document's id.
IDS = frozenset({"_id", "input_id", "job_id", "key_id", "file_id"})

_PART = re.compile(r"<(?:(?P<converter>[a-zA-Z_]+)(?:\((?P<arguments>.*?)\))?:)?(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)>")


class Undescribed(LookupError):
    """A route or a resource that says nothing of itself; the message says what to write where."""


def path_of(rule: Rule) -> str:
    """The rule as a path of the document: `/api/v1/jobs/{id}/events`."""
    return _PART.sub(lambda part: f"{{{parameter_name(part['name'])}}}", rule.rule)


def parameter_name(argument: str) -> str:
    """What an argument of a rule is called in the document."""
    return "id" if argument in IDS else argument


def path_schemas(rule: Rule) -> dict[str, dict[str, Any]]:
    """The schema of each parameter in a rule's path, in order."""
    return {parameter_name(part["name"]): _schema_of(part) for part in _PART.finditer(rule.rule)}


def _schema_of(part: re.Match[str]) -> dict[str, Any]:
    if part["name"] in IDS:
        return {"type": "string", "pattern": "^[a-f0-9]{24}$"}
    if part["converter"] == "int":
        return {"type": "integer", "minimum": 0}
    return {"type": "string", "minLength": 1}


def methods_of(rule: Rule) -> list[str]:
    """The methods that are operations of their own."""
    return sorted((rule.methods or set()) - AUTOMATIC_METHODS)


def described(app: Flask, rule: Rule, method: str) -> Operation | None:
    """How a rule's method is described; None where it is no operation. Raises Undescribed."""
    name, _, kind = rule.endpoint.partition("|")
    if name in RESOURCES and (kind, method) in ACTS:
        missing = lacking(RESOURCES[name])
        if missing:
            raise Undescribed("; ".join(missing))
        return operation_for(RESOURCES[name], kind, method)
    view = app.view_functions[rule.endpoint]
    try:
        return operation_of(view, method)
    except LookupError:
        raise Undescribed(
            f"{method} {rule.rule} ({view.__module__}.{view.__qualname__}) is not described: put "
            "@describes(Operation(...)) from api/openapi/describe.py on the view, as its neighbours in api/routes/ "
            "have it, or @no_operation where it is nothing that clients are offered"
        ) from None
