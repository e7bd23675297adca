"""What the OpenAPI document tells of a path, a method, a status; and what does not fit it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import orjson
from jsonschema_rs import Draft202012Validator, ValidationError

Json = dict[str, Any]
#: Method, path as in the document, status.
Answer = tuple[str, str, int]

#: Of a body over this many bytes, lists are looked at this far; of a misfit, this many are told.
LONG_BODY, MOST_ITEMS, MOST_TOLD = 1 << 18, 50, 3
#: The path of a resource with the slash that Eve takes, too.
SLASH = re.compile(r"/api/v1/[a-z]+/\Z")


class Described:
    """The document, ready to hold traffic against it: schemas are compiled when they are first met."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._paths = [
            (re.compile(re.sub(r"\\\{[^/]*?\\\}", "[^/]+", re.escape(path)) + r"\Z"), path)
            for path in sorted(document["paths"], key=lambda path: (path.count("{"), -len(path)))
        ]
        #: By the schema's id, with the schema, which must live as long for its id to be its own.
        self._validators: dict[int, tuple[Json, Draft202012Validator]] = {}

    def answers(self) -> set[Answer]:
        """Every answer that the document tells of."""
        return {
            (method.upper(), path, int(status))
            for path, item in self._document["paths"].items()
            for method, operation in item.items()
            if isinstance(operation, dict) and "responses" in operation
            for status in operation["responses"]
        }

    def path(self, path: str) -> str | None:
        """The path of the document that a request's path is; lists are at theirs with a slash, too."""
        if SLASH.match(path):
            path = path[:-1]
        return next((template for pattern, template in self._paths if pattern.match(path)), None)

    def operation(self, method: str, path: str) -> Json | None:
        """The operation that answers a request, with its path's parameters; a HEAD is a GET."""
        template = self.path(path)
        if template is None:
            return None
        item = self._document["paths"][template]
        found: Json | None = item.get("get" if method == "HEAD" and "head" not in item else method.lower())
        if found is None or "parameters" not in item:
            return found
        return {**found, "parameters": [*item["parameters"], *found.get("parameters", [])]}

    def response(self, operation: Json, status: int) -> Json | None:
        """What an operation says of a status."""
        found = operation["responses"].get(str(status))
        return None if found is None else self.resolved(found)

    def resolved(self, node: Json) -> Json:
        """The part of the document that is meant: itself, or what it refers to."""
        if "$ref" not in node:
            return node
        found: Any = self._document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        return self.resolved(found)

    def content_misfits(self, kind: str, content: Json, body: bytes) -> list[str]:
        """What of a body does not fit; `content` is what the document says of that media type."""
        if "x-itemSchema" in content and kind == "application/x-ndjson":
            lines = body.splitlines()[:MOST_ITEMS]
            return [why for line in lines for why in self.misfits(content["x-itemSchema"], orjson.loads(line))]
        schema = content.get("schema")
        if schema is None:
            return []
        if kind == "application/json":
            try:
                # In some protocols' bodies NaN and infinities are tokens: there they are numbers as any other.
                tokens = self.resolved(schema).get("x-json-tokens")
                value = json.loads(body, parse_constant=_number_of(tokens)) if tokens else orjson.loads(body)
            except ValueError as error:
                return [f"the body is not JSON: {error}"]
            return self.misfits(schema, _shortened(value) if len(body) > LONG_BODY else value)
        return self.misfits(schema, body.decode()) if kind.startswith("text/") else []

    def header_misfits(self, header: Json, value: str) -> list[str]:
        """What of a header's value does not fit."""
        schema = header.get("schema", {})
        whole = self.resolved(schema).get("type") == "integer" and value.isdigit()
        return self.misfits(schema, int(value) if whole else value)

    def misfits(self, schema: Json, value: Any) -> list[str]:
        """What of a value does not fit a schema of the document."""
        _, validator = self._validators.get(id(schema), (None, None))
        if validator is None:
            whole = {**schema, "components": self._document.get("components", {})}
            validator = Draft202012Validator(whole, validate_formats=True)
            self._validators[id(schema)] = schema, validator
        if validator.is_valid(value):
            return []
        return [_told(error) for error, _ in zip(validator.iter_errors(value), range(MOST_TOLD), strict=False)]


def _number_of(tokens: list[str]) -> Callable[[str], float]:
    def number(token: str) -> float:
        if token not in tokens:
            raise ValueError(token)
        return 0.0

    return number


def _told(error: ValidationError) -> str:
    place = "/".join(map(str, error.instance_path)) or "the body"
    return f"{place}: {error.message[:300]}"


def _shortened(value: Any) -> Any:
    if isinstance(value, list):
        return [_shortened(item) for item in value[:MOST_ITEMS]]
    if isinstance(value, dict):
        return {name: _shortened(item) for name, item in value.items()}
    return value
