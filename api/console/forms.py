"""The forms of an operation: by fields, as JSON as it is sent, with files, or just a button; all without a script."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from api.console.fields import Field, fields_of
from api.console.operations import Offer, Operations
from api.openapi.describe import JSON

Json = Mapping[str, Any]
#: How the body of the request is made.
Way = Literal["fields", "json", "files", "button"]
FILES = "multipart/form-data"

#: Fields of the form itself: the method, the way, the entity tag, an Idempotency-Key, and the body as it is.
METHOD, WAY, TAG, KEY, BODY = "_method", "_way", "_etag", "_key", "_body"


@dataclass(slots=True)
class Form:
    """One form, for one operation."""

    offer: Offer
    way: Way
    fields: list[Field] = field(default_factory=list)
    #: The body, where it is sent as it is.
    body: str = ""
    #: The entity tag of the document that it was made for.
    etag: str | None = None
    key: str | None = None
    #: Why it was not done, and what of it belongs to no field.
    message: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    advice: str = ""
    #: Whether it is shown without being asked for.
    open: bool = False
    #: Fields that hold something else by now, with what.
    changed: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.offer.method.lower()}-{self.way}"

    @property
    def action(self) -> str:
        return f"/browse{self.offer.path}"

    @property
    def verb(self) -> str:
        """What its button says."""
        if self.way == "button":
            return self.offer.summary
        return {"POST": "Send", "PATCH": "Save"}.get(self.offer.method, self.offer.method.capitalize())

    def note(self, message: str, issues: Mapping[str, Any]) -> None:
        """Put each reason of a refusal at its field."""
        self.open, self.message = True, message
        for place, reason in issues.items():
            name = place.partition("[")[0]
            found = next((one for one in self.fields if one.name in (place, name)), None)
            below = [one for one in self.fields if one.name.startswith(f"{name}.")]
            if found is None and below:
                found = below[0]
            if found is not None:
                found.errors.append(str(reason) if place == found.name else f"{place}: {reason}")
            else:
                self.errors[place] = str(reason)


def forms_of(operations: Operations, offer: Offer, present: Json | None = None) -> list[Form]:
    """The forms for an operation; `present` is the document that a PATCH or DELETE is for."""
    tag = present.get("_etag") if present is not None and offer.has_header("If-Match") else None
    common: dict[str, Any] = {"etag": tag}
    if offer.has_header("Idempotency-Key"):
        common["key"] = new_key()
    made = []
    if JSON in offer.content:
        media = offer.content[JSON]
        shape = _record(operations, media["schema"])
        if shape is not None:
            changed = present if offer.method == "PATCH" else None
            made.append(Form(offer, "fields", fields_of(shape, operations.resolved, changed), **common))
        example: Any = next(iter(media.get("examples", {}).values()), {"value": {}})["value"]
        made.append(Form(offer, "json", body=pretty(example), **common))
    if FILES in offer.content:
        fields = fields_of(offer.content[FILES]["schema"], operations.resolved)
        made.append(Form(offer, "files", fields, **common))
    if not offer.content:
        made.append(Form(offer, "button", **common))
    return made


def new_key() -> str:
    """An Idempotency-Key: a form that is sent twice, by a second click or a reload, is done once."""
    return secrets.token_urlsafe(16)


def form_named(forms: Sequence[Form], way: str) -> Form | None:
    """The form that is filled in in this way."""
    return next((form for form in forms if form.way == way), None)


def pretty(value: Any) -> str:
    """JSON as people write it: lists of plain values on one line."""
    return _pretty(value, "")


def _pretty(value: Any, indent: str) -> str:
    deeper = indent + "  "
    if isinstance(value, Mapping) and value:
        inner = [f"{deeper}{json.dumps(key)}: {_pretty(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, (list, Mapping)) for item in value):
        inner = [deeper + _pretty(item, deeper) for item in value]
        return "[\n" + ",\n".join(inner) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def _record(operations: Operations, schema: Json) -> Json | None:
    """The object that a body may be: of several that are possible the first."""
    schema = operations.resolved(schema)
    for choice in schema.get("anyOf", [schema]):
        shape = operations.resolved(choice)
        if "properties" in shape:
            return shape
    return None
