"""Cerberus to JSON Schema 2020-12: a resource's fields as they are answered, as a POST has them, and as a PATCH has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from api.openapi.describe import Schema, named, record, ref
from api.openapi.shared import OBJECT_ID, OUTLINE, TENSOR, TIME
from api.resources import RESOURCES
from api.resources.base import Resource

Rules = Mapping[str, Any]
#: What the schema is of: a document as it is answered, the body of a POST, the body of a PATCH.
Form = Literal["stored", "create", "change"]

#: As ml/webhooks/target.py has it, and a little more.
_URL = r"^[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9_.:\[\]-]+([/?][A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]*)?$"
_KEY = r"^[^$.\u0000][^.\u0000]*$"
_SCALAR: Schema = {"type": ["number", "string", "boolean"]}
#: Whole numbers that BSON does not hold; beyond these JSON is read as floats.
_TOO_LARGE: Schema = {"type": "integer", "minimum": 2**63, "maximum": 2**64 - 1}

# Keywords that speak of lists or objects alone, rather than a union of types: generators of clients refuse one that
# holds itself.
FREE_VALUE = named(
    "FreeValue",
    {
        "description": "Any JSON value whose whole numbers have at most 64 bits.",
        "not": _TOO_LARGE,
        "items": ref("FreeValue"),
        "propertyNames": {"pattern": _KEY},
        "additionalProperties": ref("FreeValue"),
    },
)
FREE_OBJECT = named(
    "FreeObject",
    {
        "type": "object",
        "description": "Your own fields: up to 16 levels and 256 kB, keys without dots and without $ in front.",
        "propertyNames": {"pattern": _KEY},
        "additionalProperties": FREE_VALUE,
    },
)
TENSOR_VALUES = named(
    "TensorValues",
    {
        "description": "Nested lists of one length at each level, or a single value: all numbers, all strings or all "
        "booleans.",
        "not": {"type": ["object", "null"]},
        "minItems": 1,
        "items": ref("TensorValues"),
    },
)
DTYPES = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"]
_PACKED = named(
    "PackedTensor",
    record(
        {
            "dtype": {"type": "string", "description": f"{', '.join(DTYPES)} or BYTES; numpy's names are read too."},
            "shape": {
                "type": "array",
                "maxItems": 32,
                "items": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
            },
            "data": {
                "description": "Base64 of the bytes (little-endian, row-major), or a flat list of the values.",
                "anyOf": [
                    {"type": "string", "contentEncoding": "base64"},
                    {"type": "array", "items": _SCALAR},
                ],
            },
        },
        ["dtype", "shape", "data"],
        "A tensor with its dtype and shape.",
    ),
)
_NOT_PACKED: Schema = {"required": ["dtype", "shape", "data"], "maxProperties": 3}
_BY_NAME: Schema = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"pattern": r"^[^.$\u0000]+$"},
    "additionalProperties": {"anyOf": [TENSOR_VALUES, _PACKED]},
    "not": _NOT_PACKED,
    "description": "Tensors by the names of a model's inputs.",
}
_TENSOR_SENT: Schema = {"anyOf": [TENSOR_VALUES, _PACKED, _BY_NAME]}
_TENSOR_STORED: Schema = {
    "anyOf": [TENSOR, OUTLINE, {"type": "object", "additionalProperties": {"anyOf": [TENSOR, OUTLINE]}}]
}


class NoSchema(LookupError):
    """A rule of Cerberus of which is not known what it means in JSON Schema."""


_TYPES: Mapping[str, Schema] = {
    "objectid": OBJECT_ID,
    "datetime": TIME,
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "float": {"type": "number"},
    "boolean": {"type": "boolean"},
    "dict": {"type": "object"},
    "list": {"type": "array", "items": {}},  # generators of clients want it said
}


def field_schema(rules: Rules, form: Form) -> Schema:
    """The schema of one field. Raises NoSchema."""
    schema = _of_type(rules, form)
    for name, constraint in rules.items():
        if name not in _RULES:
            raise NoSchema(f"the rule {name!r} has no counterpart: add it to api/openapi/json_schema.py")
        if form != "stored" or name in _ALSO_STORED:
            schema = _RULES[name](schema, constraint)
    meta = rules.get("meta", {})
    schema |= meta.get("stored" if form == "stored" else "sent", {})
    if rules.get("nullable"):
        schema = _nullable(schema)
    words = [text for text in (meta.get("description"), schema.get("description")) if text]
    return {**schema, "description": " ".join(words)} if words else schema


def object_schema(schema: Mapping[str, Rules], form: Form) -> Schema:
    """The schema of an object whose fields Cerberus checks by `schema`; it has no others."""
    shown = {name: rules for name, rules in schema.items() if _belongs(rules, form)}
    required = [name for name, rules in shown.items() if rules.get("required") and form != "change"]
    made = record({name: field_schema(rules, form) for name, rules in shown.items()}, required)
    exclusive = [
        {"required": [name, other]} for name, rules in shown.items() if form != "stored" for other in _excluded(rules)
    ]
    if exclusive:
        made["not"] = exclusive[0] if len(exclusive) == 1 else {"anyOf": exclusive}
    return made


def document_schema(resource: Resource) -> Schema:
    """A document of a resource as it is answered: with a projection fields may be missing."""
    made = object_schema(resource.schema, "stored")
    for name in resource.secrets:
        if not resource.schema[name].get("readonly"):
            del made["properties"][name]
    for name in resource.embeddable:
        other = resource.schema[name]["data_relation"]["resource"]
        described = made["properties"][name]
        made["properties"][name] = {
            "anyOf": [OBJECT_ID, ref(component_name(other))],
            **{key: value for key, value in described.items() if key != "$ref"},
        }
    for name in resource.tensors:
        if resource.schema[name]["type"] == "dict":
            made["properties"][name]["additionalProperties"] = {"anyOf": [TENSOR, OUTLINE]}
    stamps = {
        "_id": OBJECT_ID,
        "_created": TIME,
        "_updated": TIME,
        "_etag": {
            "type": ["string", "null"],
            "description": "Changes with each write. Null only in a list with a projection, of what others stored.",
        },
    }
    made["properties"] = {**stamps, **made["properties"], "_status": {"type": "string", "const": "OK"}}
    made["properties"]["_status"]["description"] = "In answers to writes."
    made["required"] = list(stamps)
    made["description"] = resource.about
    return made


def component_name(resource: str) -> str:
    """What a resource's document is called: Input for `inputs`."""
    return "".join(part.capitalize() for part in RESOURCES[resource].singular.split())


def _belongs(rules: Rules, form: Form) -> bool:
    if form == "stored":
        return True
    if rules.get("readonly"):
        return False
    return not rules.get("on_update_only") if form == "create" else not rules.get("immutable")


def _of_type(rules: Rules, form: Form) -> Schema:
    kinds = rules.get("type")
    if kinds is None:
        return {}
    if kinds == "tensor":
        return dict(_TENSOR_STORED if form == "stored" else _TENSOR_SENT)
    if kinds == "dict" and "schema" in rules:
        return object_schema(rules["schema"], form)
    if kinds == "list" and "schema" in rules:
        return {"type": "array", "items": field_schema(rules["schema"], form)}
    if isinstance(kinds, list):
        if any(kind not in _TYPES or "type" not in _TYPES[kind] for kind in kinds):
            raise NoSchema(f"types {kinds} have no schema together: see api/openapi/json_schema.py")
        together = {key: value for kind in kinds for key, value in _TYPES[kind].items()}
        return {**together, "type": [_TYPES[kind]["type"] for kind in kinds]}
    if kinds not in _TYPES:
        raise NoSchema(f"the type {kinds!r} has no schema: add it to api/openapi/json_schema.py")
    return dict(_TYPES[kinds])


def _nullable(schema: Schema) -> Schema:
    if "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {**schema, "type": [*kinds, "null"]} | ({"enum": [*schema["enum"], None]} if "enum" in schema else {})


def _excluded(rules: Rules) -> list[str]:
    others = rules.get("excludes", [])
    return [others] if isinstance(others, str) else list(others)


def _none(schema: Schema, _: Any) -> Schema:
    """Rules that are told otherwise, or are about no value."""
    return schema


def _also(keyword: str) -> Callable[[Schema, Any], Schema]:
    return lambda schema, constraint: {**schema, keyword: constraint}


def _length(which: str) -> Callable[[Schema, Any], Schema]:
    def add(schema: Schema, constraint: Any) -> Schema:
        return {**schema, f"{which}{'Items' if schema.get('type') == 'array' else 'Length'}": constraint}

    return add


def _pattern(schema: Schema, regex: str) -> Schema:
    return {**schema, "pattern": f"^{regex.removesuffix(chr(92) + 'Z')}$"}


def _free_form(schema: Schema, free: bool) -> Schema:
    """Everything that may be an object or a list is held to what can be stored and queried."""
    if not free:
        return schema
    if schema.get("type") == "object":
        return dict(FREE_OBJECT)
    return {**schema, "items": FREE_VALUE, "not": _TOO_LARGE}


def _filter_over(schema: Schema, resource: str) -> Schema:
    return {**schema, **filter_schema(RESOURCES[resource])}


def filter_schema(resource: Resource) -> Schema:
    """A filter over a resource: which names it may hold. What stands under them is said in words."""
    fields = resource.fields()
    free = [name for name, kind in fields.items() if "any" in kind]
    below = [{"pattern": rf"^({'|'.join(sorted(free))})\..+"}] if free else []
    names = {"enum": [*sorted(fields), "$and", "$or", "$nor"]}
    return {
        "type": "object",
        "propertyNames": {"anyOf": [names, *below]} if below else names,
        "description": "A filter in MongoDB's language: a field to a value, or to an object of operators (`$eq $ne $gt "
        "$gte $lt $lte $in $nin $exists $not $all $elemMatch $size`, `$regex` anchored with ^); `$and $or $nor` "
        "take lists.",
    }


def _webhook_target(schema: Schema, target: bool) -> Schema:
    return {**schema, "format": "uri", "pattern": _URL, "maxLength": 2000} if target else schema


_RULES: Mapping[str, Callable[[Schema, Any], Schema]] = {
    **dict.fromkeys(
        ("type", "schema", "required", "readonly", "nullable", "immutable", "on_update_only", "excludes", "meta",
         "data_relation", "tensor", "in_future"),
        _none,
    ),
    "allowed": _also("enum"),
    "min": _also("minimum"),
    "max": _also("maximum"),
    "minlength": _length("min"),
    "maxlength": _length("max"),
    "regex": _pattern,
    "distinct": _also("uniqueItems"),
    "free_form": _free_form,
    "filter_over": _filter_over,
    "webhook_target": _webhook_target,
    "strong_password": lambda schema, _: {**schema, "minLength": 8, "maxLength": 1024, "format": "password"},
}  # fmt: skip
#: What is stored need not obey what may be sent: older documents, and those of other programs, do not.
_ALSO_STORED = frozenset({"allowed"})
