"""The OpenAPI document as a page to read: by resource, what can be asked, which fields there are, what is answered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from api.openapi.wording import code, last_part, type_of

Json = Mapping[str, Any]
#: An operation with its method and path.
Found = tuple[str, str, Json]
T = TypeVar("T")

#: What any operation may answer, and any may be sent; said once.
ANYWHERE = frozenset({"400", "401", "500", "503"})
ANY_HEADER = "X-Request-ID"
#: An operation's parameters that so many share are described once.
SHARED = 3
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

INTRO = """Made from the OpenAPI document by `python -m tests.snapshots.renew`. A running Almanac has that document at
`/openapi.json`, with `?model=NAME` and a key exact for one model, and at `/docs` a page to try it with. Examples are on
the other pages: [models](models.md), [predict](predict.md), [jobs](jobs.md), [webhooks](webhooks.md)."""


class Page:
    """The parts of the page of one document."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._operations: list[Found] = [
            (method.upper(), path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if method != "parameters"
        ]
        self._operations.sort(key=lambda found: (found[1], METHODS.index(found[0])))
        seen = [_key(parameter) for _, _, operation in self._operations for parameter in self._parameters(operation)]
        documents = [
            document["components"]["schemas"][name]["properties"]
            for name in map(self._resource, self._by_tag())
            if name
        ]
        #: Fields that all documents have alike.
        self._stamps = {
            field: schema
            for field, schema in documents[0].items()
            if all(other.get(field) == schema for other in documents)
        }
        self._shared = {key for key in seen if seen.count(key) >= SHARED}

    def text(self) -> str:
        """The page, as Markdown."""
        parts = ["# The API, operation by operation", INTRO, _prose(self._document["info"]["description"])]
        parts.append(
            f"Any operation may also answer {', '.join(sorted(ANYWHERE))}, see [errors](#errors); each takes and "
            f"answers `{ANY_HEADER}`. Parameters that several take are under [parameters](#parameters)."
        )
        for tag, operations in zip(self._document["tags"], self._by_tag(), strict=True):
            parts += self._section(tag, operations)
        parts += ["## Fields of every document", self._of_every_document()]
        parts += ["## Parameters", self._shared_parameters(), "## Headers of answers", self._headers()]
        parts += ["## Errors", self._errors()]
        return "\n\n".join(parts) + "\n"

    def _by_tag(self) -> Iterator[list[Found]]:
        for tag in self._document["tags"]:
            yield [found for found in self._operations if found[2]["tags"] == [tag["name"]]]

    def _section(self, tag: Json, operations: list[Found]) -> Iterator[str]:
        yield f"## {tag['name'].capitalize()}"
        yield _prose(tag["description"])
        yield _table(
            ("operation", "does", "takes", "answers"),
            (
                (
                    code(f"{method} {path}"),
                    _sentence(operation["summary"], operation.get("description", "")),
                    " ".join(code(parameter["name"]) for parameter in self._parameters(operation)),
                    " ".join(status for status in operation["responses"] if status not in ANYWHERE),
                )
                for method, path, operation in operations
            ),
        )
        name = self._resource(operations)
        if name:
            yield "### Fields of " + tag["name"]
            yield self._fields(name)
        yield from self._own_parameters(operations)
        yield from self._bodies(operations, name)
        rows = [("<br>".join(asked), *told) for told, asked in _grouped(self._answers(operations))]
        yield "### Answers of " + tag["name"]
        yield _table(("operation", "status", "means"), rows)

    def _resource(self, operations: Iterable[Found]) -> str | None:
        """The schema of the documents that these operations are about."""
        for method, _, operation in operations:
            schema = operation["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema")
            if method == "GET" and schema and str(schema.get("$ref", "")).endswith("List"):
                return last_part(schema["$ref"]).removesuffix("List")
        return None

    def _fields(self, name: str) -> str:
        schemas = self._document["components"]["schemas"]
        create = schemas.get(f"{name}Create", {"properties": {}})
        change = schemas.get(f"{name}Change", {"properties": {}})
        used = self._names_used()
        rows = []
        for field, schema in self._flat(schemas[name]["properties"]):
            if field in self._stamps:
                continue
            top = field.partition(".")[0]
            sent = create["properties"].get(top) if f"{name}Create" in used else None
            changed = change["properties"].get(top) if f"{name}Change" in used else None
            typed = (sent or changed) if field == top else None
            rows.append(
                (
                    code(field),
                    type_of(typed or schema),
                    "" if sent is None else "required" if top in create.get("required", ()) else "yes",
                    "yes" if changed is not None else "",
                    _prose(schema.get("description") or self._resolved(schema).get("description", "")),
                )
            )
        columns = ("field", "type", "POST", "PATCH", "is")
        keep = [index for index in range(5) if index not in (2, 3) or any(row[index] for row in rows)]
        return _table([columns[index] for index in keep], ([row[index] for index in keep] for row in rows))

    def _own_parameters(self, operations: Iterable[Found]) -> Iterator[str]:
        """The parameters that are not described under Parameters."""
        rows = [
            (self._parameter(parameter), code(f"{method} {path}"))
            for method, path, operation in operations
            for parameter in self._parameters(operation)
            if _key(parameter) not in self._shared
        ]
        if rows:
            yield _table(
                ("parameter", "in", "type", "is", "taken by"), ((*told, "<br>".join(by)) for told, by in _grouped(rows))
            )

    def _bodies(self, operations: Iterable[Found], resource: str | None) -> Iterator[str]:
        """The fields of bodies that are no documents of the resource."""
        tables = []
        for method, path, operation in operations:
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                for schema in content["schema"].get("anyOf", [content["schema"]]):
                    named, shape = last_part(schema.get("$ref", "")), self._resolved(schema)
                    if named not in (f"{resource}Create", f"{resource}Change") and "properties" in shape:
                        tables.append(((kind, self._body(shape)), code(f"{method} {path}")))
        for (kind, table), asked in _grouped(tables):
            yield f"A body of type `{kind}` for {', '.join(asked)}:"
            yield table

    def _body(self, shape: Json) -> str:
        return _table(
            ("field", "type", "", "is"),
            (
                (
                    code(field),
                    type_of(inner),
                    "required" if field in shape.get("required", ()) else "",
                    _prose(inner.get("description", "")),
                )
                for field, inner in shape["properties"].items()
            ),
        )

    def _answers(self, operations: Iterable[Found]) -> Iterator[tuple[tuple[str, str], str]]:
        """Where an answer means something of its own, by what it means; the others are those of Errors."""
        for method, path, operation in operations:
            for status, response in operation["responses"].items():
                if "$ref" not in response:
                    kinds = response.get("content", {})
                    also = f" ({', '.join(map(code, kinds))})" if kinds.keys() - {"application/json"} else ""
                    yield (status, _prose(response["description"]) + also), code(f"{method} {path}")

    def _shared_parameters(self) -> str:
        found = {
            _key(parameter): parameter
            for _, _, operation in self._operations
            for parameter in self._parameters(operation)
            if _key(parameter) in self._shared
        }
        return _table(("parameter", "in", "type", "is"), map(self._parameter, found.values()))

    def _parameter(self, parameter: Json) -> tuple[str, str, str, str]:
        described = _prose(parameter["description"])
        return code(parameter["name"]), parameter["in"], type_of(parameter["schema"]), described

    def _of_every_document(self) -> str:
        return _table(
            ("field", "type", "is"),
            (
                (code(field), type_of(schema), _prose(self._resolved(schema).get("description", "")))
                for field, schema in self._stamps.items()
            ),
        )

    def _headers(self) -> str:
        return _table(
            ("header", "is"),
            (
                (code(name), _prose(header["description"]))
                for name, header in self._document["components"]["headers"].items()
            ),
        )

    def _errors(self) -> str:
        status_of = {
            last_part(response["$ref"]): status
            for _, _, operation in self._operations
            for status, response in operation["responses"].items()
            if "$ref" in response
        }
        described = self._document["components"]["responses"].items()
        return _table(
            ("status", "means"),
            sorted(
                (status_of[name], _prose(response["description"])) for name, response in described if name in status_of
            ),
        )

    def _parameters(self, operation: Json) -> list[Json]:
        return [self._resolved(parameter) for parameter in operation.get("parameters", [])]

    def _names_used(self) -> set[str]:
        return set(re.findall(r"#/components/schemas/(\w+)", str(self._document["paths"])))

    def _flat(self, properties: Json, base: str = "") -> Iterator[tuple[str, Json]]:
        """Fields with those below them."""
        for field, schema in properties.items():
            yield f"{base}{field}", schema
            inner = schema.get("items", schema)
            if "properties" in inner:
                yield from self._flat(inner["properties"], f"{base}{field}.")

    def _resolved(self, node: Json) -> Json:
        if "$ref" not in node:
            return node
        found: Any = self._document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return self._resolved(found)


def page(document: Json) -> str:
    """A page in Markdown about all that the document tells."""
    return Page(document).text()


def _grouped(rows: Iterable[tuple[T, str]]) -> list[tuple[T, list[str]]]:
    """What is the same, once, with all that it is said of."""
    groups: dict[T, list[str]] = {}
    for told, of in rows:
        groups.setdefault(told, []).append(of)
    return list(groups.items())


def _key(parameter: Json) -> tuple[str, str, str]:
    return parameter["name"], parameter["in"], parameter["description"]


def _sentence(summary: str, description: str) -> str:
    return f"{summary}. {_prose(description)}" if description else summary


def _prose(text: str) -> str:
    """A text in one paragraph for a cell, or in its own paragraphs."""
    paragraphs = [" ".join(part.split()) for part in text.strip().split("\n\n")]
    return "\n\n".join(paragraphs)


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("\n\n", " ").replace("|", "\\|")
