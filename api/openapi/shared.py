"""What all operations share: the error's shape, headers, parameters, security, and the errors that any may answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from api.errors import ApiError
from api.openapi.describe import JSON, Schema, named, record, ref

if TYPE_CHECKING:
    from api.dialects.base import Dialect  # a dialect may use what is here

OBJECT_ID = named(
    "ObjectId",
    {
        "type": "string",
        "pattern": "^[0-9a-fA-F]{24}$",
        "description": "An id: 24 hexadecimal digits.",
        "examples": ["6b00e4c0d035a01704bf37b4"],
    },
)
TIME: Schema = {
    "type": "string",
    "format": "date-time",
    "description": "ISO 8601, in UTC, with milliseconds.",
    "examples": ["2026-01-01T12:00:00.000Z"],
}
TENSOR = named(
    "Tensor",
    {
        "description": "A tensor as it is answered: nested lists, or a single value. A NaN or infinite number is null.",
        # Not a union of types: generators of clients refuse those that hold themselves.
        "not": {"type": "object"},
        "items": ref("Tensor"),
    },
)
OUTLINE = named(
    "TensorOutline",
    record(
        {"dtype": {"type": "string"}, "shape": {"type": "array", "items": {"type": "integer"}}},
        ["dtype", "shape"],
        "Of a tensor with more than 1,024 values, what a list shows unless it is projected.",
    ),
)
_STATUS: Schema = {"enum": ["OK", "ERR"], "type": "string"}
ISSUES: Schema = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "description": "A field, or a place such as `instances[2].image`, to what was expected and what came.",
}
ERROR = named(
    "Error",
    record(
        {
            "_status": {"type": "string", "const": "ERR"},
            "_error": record({"code": {"type": "integer"}, "message": {"type": "string"}}, ["code", "message"]),
            "_issues": ISSUES,
            "_items": {
                "type": "array",
                "items": record({"_status": _STATUS, "_issues": ISSUES}, ["_status"]),
                "description": "After a POST of a list: what is wrong with each, in order. None of them was stored.",
            },
        },
        ["_status", "_error"],
        "Every error has this shape; `code` is the status.",
    ),
)

BEARER, BASIC = "key", "user"
SECURITY_SCHEMES: dict[str, Any] = {
    BEARER: {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key: `Authorization: Bearer alm_...`. The first start writes the administrator's to "
        "`$ALMANAC_DATA_DIR/admin.key`.",
    },
    BASIC: {"type": "http", "scheme": "basic", "description": "The name and the password of one of the `users`."},
}
#: Either of them.
SECURITY: list[dict[str, list[str]]] = [{BEARER: []}, {BASIC: []}]

_STRING: Schema = {"type": "string"}
HEADERS: dict[str, Any] = {
    "X-Request-ID": {
        "description": "The request's id: the caller's own where it is a sane one. The log and results have it.",
        "schema": _STRING,
        "required": True,
    },
    "ETag": {"description": "The document's `_etag`, in quotes.", "schema": _STRING, "required": True},
    "Last-Modified": {"description": "When it was last written, to the second.", "schema": _STRING},
    "Location": {"description": "The URL of what was made.", "schema": _STRING},
    "Retry-After": {"description": "Seconds after which to try again.", "schema": _STRING, "required": True},
    "WWW-Authenticate": {"description": "How to say who asks.", "schema": _STRING, "required": True},
    "Allow": {"description": "The methods that there are.", "schema": _STRING, "required": True},
    "Preference-Applied": {"description": "What was heeded of `Prefer`.", "schema": _STRING},
    "Idempotency-Replayed": {
        "description": "`true` where this is the kept answer of an earlier request with the same Idempotency-Key.",
        "schema": {"type": "string", "const": "true"},
    },
    "X-Total-Count": {"description": "With `count=true`: how many match.", "schema": _STRING},
    "Cache-Control": {"description": "`no-store`.", "schema": _STRING},
}

REQUEST_HEADERS: dict[str, Any] = {
    "X-Request-ID": {
        "name": "X-Request-ID",
        "description": "An id for this request, 1 to 128 of `A-Z a-z 0-9 . _ : / + = @ -`; another is replaced by a "
        "new one.",
        "schema": _STRING,
    },
    "If-Match": {
        "name": "If-Match",
        "required": True,
        "description": "The `_etag` of the document as you know it, in quotes, or `*`: whatever it is by now.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 1000},
        "examples": {"any": {"value": "*"}, "seen": {"value": '"8ff0cf3e51a24e3dbb5a3e3c"'}},
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "description": "An entity tag: where the document still has it, the answer is 304.",
        "schema": {"type": "string", "maxLength": 1000},
    },
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "description": "Any text of your own: within 24 hours the request is done once, however often it is sent.",
        "schema": {"type": "string", "pattern": "^[ -~]{1,255}$"},
    },
    "Prefer-Async": {
        "name": "Prefer",
        "description": "`respond-async`: store the rows, and answer 202 with a job over them.",
        "schema": _STRING,
        "examples": {"later": {"value": "respond-async"}},
    },
    "Prefer-Wait": {
        "name": "Prefer",
        "description": "`wait=30`: answer when the job has ended, or after 30 seconds. 60 are the most.",
        "schema": _STRING,
        "examples": {"wait": {"value": "wait=30"}},
    },
    "Last-Event-ID": {
        "name": "Last-Event-ID",
        "description": "The id of the last event that was seen, as browsers send it when they come again.",
        "schema": _STRING,
    },
}

#: What the parts of a path are.
PATH: dict[str, Schema] = {
    "id": {"description": "The document's `_id`."},
    "name": {"description": "A model's name."},
    "version": {"description": "A version's number."},
    "alias": {"description": "An alias of the model, such as `stable`."},
}

#: status: (name, what it means, message, more headers)
_ERRORS: dict[int, tuple[str, str, str, tuple[str, ...]]] = {
    400: ("BadRequest", "The query, a header or the request itself is not understood; `_issues` names it.",
          "the query is not understood: pages", ()),
    401: ("Unauthorized", "There is no valid key.", "the key is not valid", ("WWW-Authenticate",)),
    403: ("Forbidden", "The caller may not do this.", "the name 'digits' belongs to another owner", ()),
    404: ("NotFound", "There is nothing at this URL, or nothing that is the caller's to see.",
          "there is nothing at /api/v1/inputs/6b00e4c0d035a01704bf37b4", ()),
    405: ("MethodNotAllowed", "The path has no such method; any path may answer so.", "PUT is not allowed here",
          ("Allow",)),
    409: ("Conflict", "It cannot be done in the present state.",
          "the job is succeeded; from there it can be queued", ()),
    412: ("PreconditionFailed", "The document is no longer what If-Match names.",
          "the document is no longer what If-Match names", ()),
    413: ("ContentTooLarge", "The body is larger than `ALMANAC_MAX_BODY_MB`.",
          "the body is larger than is allowed here", ()),
    415: ("UnsupportedMediaType", "The body is of another type than is described.",
          "expected Content-Type application/json, got text/plain", ()),
    422: ("Unprocessable", "What was sent does not fit; `_issues` says where, what was expected and what came.",
          "the change does not fit", ()),
    428: ("PreconditionRequired", "A write needs If-Match.", "If-Match is needed: the document's _etag, or *", ()),
    429: ("TooManyRequests", "More requests than `ALMANAC_RATE_LIMIT` lets this key, or this address, send.",
          "600 requests a minute are allowed: the next in 12 s", ("Retry-After",)),
    500: ("Unexpected", "Something went wrong that should not; the log has it under the request's id.",
          "unexpected error; the log has it under request 3c1a7c1d50cf4e0f8e1c5b7a0f3f9c52", ()),
    503: ("Unavailable", "The database is away, or too much is under way: try again after `Retry-After` seconds.",
          "60 requests are under way already", ("Retry-After",)),
    504: ("DeadlinePassed", "There was no answer in time; rows may have been stored: look by `request`.",
          "no answer within 30000 ms; the rows may have been stored", ()),
}  # fmt: skip

_ISSUES_EXAMPLE = {
    400: {"pages": "no such parameter; there are count, embedded, max_results, page, pretty, projection, sort, where"},
    422: {"tags": "expected a list, got the number 3"},
}


def responses(dialect: Dialect | None = None) -> dict[str, Any]:
    """The shared error responses, by name; or those of a dialect."""
    statuses = [status for status in _ERRORS if dialect is None or dialect.status(status) == status]
    return {_name(status, dialect): error_response(status, None, dialect) for status in statuses}


def error_response(status: int, description: str | None = None, dialect: Dialect | None = None) -> dict[str, Any]:
    """The response of an error, with what it means here."""
    _, general, message, headers = _ERRORS[status]
    error = ApiError(status, message, _ISSUES_EXAMPLE.get(status))
    schema, example = ERROR, error.shown()
    if dialect is not None:
        general = general.partition("; `_issues`")[0].removesuffix(".") + "."
        schema, example = dialect.error_schema, dialect.error(error)
    return {
        "description": description or general,
        "headers": response_headers(headers),
        "content": {JSON: {"schema": schema} | ({} if description else {"example": example})},
    }


def error_ref(status: int, dialect: Dialect | None = None) -> dict[str, Any]:
    """A reference to the shared response of this status."""
    return {"$ref": f"#/components/responses/{_name(status, dialect)}"}


def _name(status: int, dialect: Dialect | None) -> str:
    prefix = "" if dialect is None else "".join(part.capitalize() for part in dialect.name.split("_"))
    return prefix + _ERRORS[status][0]


def response_headers(names: tuple[str, ...]) -> dict[str, Any]:
    """These headers and that which every response has."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *names)}


def header_parameter(key: str) -> dict[str, Any]:
    """A reference to a request header's parameter."""
    return {"$ref": f"#/components/parameters/{key}"}


def header_parameters(dialects: Iterable[Dialect]) -> dict[str, Any]:
    """The request headers as components."""
    more = {key: parameter for dialect in dialects for key, parameter in dialect.request_headers.items()}
    return {key: {"in": "header", **parameter} for key, parameter in (REQUEST_HEADERS | more).items()}


def headers(dialects: Iterable[Dialect]) -> dict[str, Any]:
    """The headers of answers as components."""
    return HEADERS | {name: header for dialect in dialects for name, header in dialect.answer_headers.items()}


def common_errors(*, public: bool, body: bool, path: bool, keyed: bool) -> list[int]:
    """The errors that any operation may answer: with a key needed, with a body, with parts in its path, keyed."""
    errors = [400, 500, 503]  # a header that is wrong, a defect, no place for one more request
    errors += [] if public else [401, 403, 429]
    errors += [413] if body else []
    errors += [404] if path else []
    errors += [409] if keyed else []
    return sorted(errors)
