"""Cerberus with the rules that Almanac's schemas use, and messages that say what came."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import cerberus
import numpy as np
from eve.io.mongo import Validator
from eve.validation import SingleErrorAsStringErrorHandler
from flask import current_app

from api.requests import MISPLACED
from api.resources import RESOURCES
from ml.database.documents import now
from ml.database.filters import FilterError, check_filter
from ml.errors import ServiceError
from ml.identity.passwords import weakness
from ml.identity.redaction import holds_secret
from ml.service import MAX_ROW_BYTES, Service
from ml.tensors import TensorIssues, from_stored, infer_json, is_packed, row_of, to_stored
from ml.tensors.values import describe

MAX_META_BYTES = 1 << 18
MAX_META_DEPTH = 16

#: Cerberus' codes for a value of another type and of another form, and how its types are called in messages.
TYPE = 0x24
REGEX = 0x41
TYPE_NAMES = {
    "dict": "an object",
    "list": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "objectid": "an id of 24 hexadecimal digits",
    "tensor": "a tensor",
}


class Described(str):
    """What a message says of a value that came."""


class Messages(SingleErrorAsStringErrorHandler):  # type: ignore[misc]  # Eve is not typed
    """Cerberus' messages with what came beside what was expected."""

    messages = {
        **cerberus.errors.BasicErrorHandler.messages,
        0x02: "required, got nothing",
        0x03: "no such field",
        0x06: "cannot be together with {0}",
        0x22: "expected a value, got an empty one",
        0x23: "expected a value, got null",
        TYPE: "expected {constraint}, got {value}",
        0x27: "expected at least {constraint} long, got {value}",
        0x28: "expected at most {constraint} long, got {value}",
        REGEX: "expected a string that matches {constraint}, got {value}",
        0x42: "expected at least {constraint}, got {value}",
        0x43: "expected at most {constraint}, got {value}",
        0x44: "expected one of {constraint}, got {value}",
        0x63: "is set by the server",
    }

    def add(self, error: Any) -> None:
        """Take an error in. Cerberus copies it, so a value of any size or depth is described before."""
        _describe(error)
        super().add(error)

    def _format_message(self, field: str, error: Any) -> str:
        message: str = self.messages[error.code]
        constraint = error.constraint
        if error.code == TYPE:
            kinds = [constraint] if isinstance(constraint, str) else constraint
            constraint = " or ".join(TYPE_NAMES.get(kind, kind) for kind in kinds)
        if error.code == REGEX:
            constraint = constraint.removesuffix(r"\Z")
        return message.format(*error.info, constraint=constraint, field=field, value=error.value)


def _describe(error: Any) -> None:
    if not isinstance(error.value, Described):
        error.value = Described(describe(error.value))
    for child in error.child_errors or ():
        _describe(child)


class AlmanacValidator(Validator):  # type: ignore[misc]  # Eve is not typed
    """The validator of every resource."""

    types_mapping = {
        **Validator.types_mapping,
        "integer": cerberus.TypeDefinition("integer", (int,), (bool,)),
        "tensor": cerberus.TypeDefinition("tensor", (list, dict, int, float, str), ()),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.error_handler = Messages()

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong, by field, or by the place in it: `tags[2]`."""
        return _flat(super().errors)

    def _validate_data_relation(self, relation: Any, field: str, value: Any) -> None:
        """{'type': 'dict'}"""
        # Only fields that the server sets refer to other documents.

    def _validate_immutable(self, immutable: bool, field: str, value: Any) -> None:
        """{'type': 'boolean'}"""
        if immutable and self.is_update_operation:
            self._error(field, "cannot be changed")

    def _validate_on_update_only(self, only: bool, field: str, value: Any) -> None:
        """{'type': 'boolean'}"""
        if only and not self.is_update_operation:
            self._error(field, "is set by the server; change it with PATCH")

    def _validate_free_form(self, free: bool, field: str, value: Any) -> None:
        """{'type': 'boolean'}"""
        problem = free_form_problem(value)
        if free and problem:
            self._error(field, problem)

    def _validate_distinct(self, distinct: bool, field: str, value: Any) -> None:
        """{'type': 'boolean'}"""
        # Rules of our own are asked of a value of another type, too.
        items = value if distinct and isinstance(value, list) else []
        twice = next((item for at, item in enumerate(items) if item in items[:at]), None)
        if twice is not None:
            self._error(field, f"expected each once, got {describe(twice)} twice")

    def _validate_webhook_target(self, is_target: bool, field: str, value: Any) -> None:
        """{'type': 'boolean'}"""
        if not is_target or not isinstance(value, str):
            return
        service: Service = current_app.extensions["service"]
        problem = service.webhooks.problem(value)
        if problem:
            self._error(field, problem)

    def _validate_in_future(self, in_future: bool, field: str, value: Any) -> None:
        """{'type': 'boolean'}"""
        if in_future and not self.is_update_operation and isinstance(value, datetime) and value <= now():
            self._error(field, f"expected a time to come, got {value.isoformat()}")

    def _validate_strong_password(self, strong: bool, field: str, value: Any) -> None:
        """{'type': 'boolean'}"""
        known = {**(self.persisted_document or {}), **self.document}
        about = [known[name] for name in ("name", "description") if isinstance(known.get(name), str)]
        problem = weakness(value, about) if strong and isinstance(value, str) else None
        if problem:
            self._error(field, problem)

    def _validate_filter_over(self, resource: str, field: str, value: Any) -> None:
        """{'type': 'string'}"""
        try:
            self.document[field] = check_filter(value, RESOURCES[resource].fields())
        except FilterError as error:
            self._error(field, str(error))

    def _validate_tensor(self, is_tensor: bool, field: str, value: Any) -> None:
        """{'type': 'boolean'}"""
        if not is_tensor or self.is_update_operation:
            return
        try:
            self.document[field] = stored_data(value, self.document.get("model"), field)
        except TensorIssues as error:
            # One place is the field itself; several are named below it.
            self._error(field, str(error).removeprefix(f"{field}: "))


def _flat(errors: Mapping[Any, Any], base: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, found in errors.items():
        place = f"{base}[{name}]" if isinstance(name, int) else f"{base}.{name}" if base else str(name)
        reasons = found if isinstance(found, list) else [found]
        for below in reasons:
            if isinstance(below, Mapping):
                flat.update(_flat(below, place))
        own = [reason for reason in reasons if not isinstance(reason, Mapping)]
        if own:
            flat[place] = "; ".join(own)
    return flat


def stored_data(value: Any, model: Any, place: str) -> Any:
    """What is stored for the `data` of an input that a client sent: a tensor, or tensors by input name.

    Where `model` names a model with an available version, the row must fit its default one. Raises TensorIssues.
    """
    if isinstance(value, Mapping) and not is_packed(value):
        if not value or not all(isinstance(name, str) and name and not re.search(r"[.$\0]", name) for name in value):
            raise TensorIssues({place: "expected a tensor, or tensors by the names of a model's inputs"})
        tensors = {name: _tensor(item, f"{place}.{name}") for name, item in value.items()}
    else:
        tensors = {"": _tensor(value, place)}
    signature = _signature(model)
    if signature is not None:
        row = row_of(_stored(tensors), signature, place)
        tensors = {"": next(iter(row.values()))} if "" in tensors else row
    size = sum(sum(map(len, a.reshape(-1))) if a.dtype == object else a.nbytes for a in tensors.values())
    if size > MAX_ROW_BYTES:
        raise TensorIssues({place: f"expected at most {MAX_ROW_BYTES} bytes a row, got {size}"})
    return _stored(tensors)


def _stored(tensors: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    """One tensor, which stands under no name, or an object of them."""
    if "" in tensors:
        return to_stored(tensors[""])
    return {name: to_stored(array) for name, array in tensors.items()}


def _tensor(value: Any, place: str) -> np.ndarray[Any, Any]:
    if not is_packed(value):
        return infer_json(value, place)
    data = value["data"]
    if isinstance(data, str):
        try:
            data = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise TensorIssues({place: "expected data to be base64 of the bytes, or a flat list of values"}) from None
    return from_stored({**value, "data": data}, None, place)


def _signature(model: Any) -> Any:
    service: Service = current_app.extensions["service"]
    if not isinstance(model, str):
        return None
    try:
        return service.signature(model)
    except ServiceError:
        return None  # not there yet: the row is held against the model when it is scored


def free_form_problem(value: Any, depth: int = 0) -> str | None:
    """Why a free-form JSON value cannot be stored and queried, if it cannot."""
    if depth > MAX_META_DEPTH:
        return f"expected at most {MAX_META_DEPTH} levels"
    if isinstance(value, dict):
        for key, item in value.items():
            if not key or key.startswith("$") or "." in key or "\0" in key:
                return f"expected keys without $ in front, dots and zero characters, got {key!r}"
            problem = free_form_problem(item, depth + 1) or (MISPLACED if holds_secret(key.encode()) else None)
            if problem:
                return problem
    elif isinstance(value, list):
        for item in value:
            problem = free_form_problem(item, depth + 1)
            if problem:
                return problem
    elif isinstance(value, str) and holds_secret(value.encode("utf-8", "surrogatepass")):
        return MISPLACED
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        return f"expected numbers of at most 64 bits, got {value}"
    # Last, since no more than so many levels can be written out.
    return f"expected at most {MAX_META_BYTES} bytes" if depth == 0 and len(repr(value)) > MAX_META_BYTES else None
