"""The words in which a route is described beside its function: plain data, which costs a request nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Schema = dict[str, Any]
View = TypeVar("View", bound=Callable[..., Any])

JSON = "application/json"
BINARY: Schema = {"type": "string", "format": "binary"}

#: Schemas that have a name in the document; those that nothing refers to are left out of it.
SCHEMAS: dict[str, Schema] = {}


def named(name: str, schema: Schema) -> Schema:
    """A reference to `schema`, which the document has under `name`. Raises ValueError where two have one name."""
    if SCHEMAS.setdefault(name, schema) != schema:
        raise ValueError(f"two schemas are called {name}")
    return ref(name)


def ref(name: str) -> Schema:
    """A reference to the schema of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(
    properties: Mapping[str, Schema], required: tuple[str, ...] | list[str] = (), description: str = ""
) -> Schema:
    """The schema of an object with these fields and no others."""
    schema: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    if description:
        schema["description"] = description
    return schema


@dataclass(frozen=True, slots=True)
class Media:
    """What a body of one type is: its schema, and examples by name, each of which fits the schema."""

    schema: Schema
    examples: Mapping[str, Any] = field(default_factory=dict)
    #: For forms: the types that a part may have.
    encoding: Mapping[str, Any] = field(default_factory=dict)
    #: Of a stream: the schema of each line or event.
    item: Schema | None = None


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent: media type to what it holds."""

    content: Mapping[str, Media]
    description: str = ""
    required: bool = True
    #: Taken for JSON whatever type it is said to be.
    any_type: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A success: what it means, what its body is by media type, and its headers, by their names in shared.HEADERS."""

    description: str
    content: Mapping[str, Media] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of the query string."""

    name: str
    schema: Schema
    description: str
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a route does for one method.

    `errors` maps a status to when it is answered. Those that any request may meet (401, 500 ...) are added by
    `shared.common_errors` and need not be named, but may be, to say more.
    """

    #: Unique in the document, in camelCase: clients that are generated call their function so.
    id: str
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    errors: Mapping[int, str] = field(default_factory=dict)
    body: Body | None = None
    query: tuple[Query, ...] = ()
    #: Request headers, by their keys in shared.REQUEST_HEADERS.
    headers: tuple[str, ...] = ()
    #: What the parts of the path are, where it is more than shared.PATH says.
    path: Mapping[str, str] = field(default_factory=dict)
    #: Whether it reads a key where one is sent, though its endpoint is public.
    key_optional: bool = False
    #: Errors that any other request may meet and this one does not.
    never: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Act:
    """What Eve's schemas do not say of one thing that is done with a resource: list, create, read, change, delete."""

    summary: str = ""
    description: str = ""
    #: status: when it is answered, beyond what every resource answers.
    errors: Mapping[int, str] = field(default_factory=dict)
    #: Bodies by name, each as it can be sent.
    examples: Mapping[str, Any] = field(default_factory=dict)
    #: Bodies of other types than JSON.
    forms: Mapping[str, Media] = field(default_factory=dict)
    #: Request headers, by their keys in shared.REQUEST_HEADERS, and response headers, by their names.
    headers: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()


#: Where a view keeps its descriptions: method (or None: each of its methods) to operation.
ATTRIBUTE = "described_operations"


def describes(operation: Operation, method: str | None = None) -> Callable[[View], View]:
    """Put the description of a view beside it. `method` where the view has several."""

    def put(view: View) -> View:
        setattr(view, ATTRIBUTE, {**getattr(view, ATTRIBUTE, {}), method: operation})
        return view

    return put


def no_operation(view: View) -> View:
    """Mark a view that is no part of what clients are offered: it only refuses, or serves files of a page."""
    setattr(view, ATTRIBUTE, {})
    return view


def operation_of(view: Callable[..., Any], method: str) -> Operation | None:
    """How this method of a view is described. Raises LookupError where it is not, None: it is meant not to be."""
    found: Mapping[str | None, Operation] | None = getattr(view, ATTRIBUTE, None)
    if found is None:
        raise LookupError
    if not found:
        return None
    operation = found.get(method) or found.get(None)
    if operation is None:
        raise LookupError
    return operation
