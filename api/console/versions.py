"""Versions of models as pages need them, and what a caller may do with one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import current_app

from api.auth.caller import Caller
from api.auth.permissions import roles_for
from api.console.inner import Sent, ask
from api.console.negotiation import API
from api.errors import ApiError
from api.resources import RESOURCES
from ml.service import Service

Json = Mapping[str, Any]

#: Versions on a page.
MOST = 200
#: What a list needs of each; tables and logs of builds are left where they are.
SHORT = ("name", "version", "state", "error", "aliases", "inputs", "outputs", "classes", "executor", "owner", "size",
         "description", "_created", "_etag")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listed:
    """A part of the list of versions."""

    items: list[dict[str, Any]]
    #: Whether there are others after these.
    more: bool


def listed(where: Json, page: int = 1, most: int = MOST) -> Listed:
    """Versions by name, of each the newest first, as the API lists them."""
    body = _asked(where, projection=json.dumps(dict.fromkeys(SHORT, 1)), page=str(page), max_results=str(most))
    return Listed([made for one in body["_items"] if (made := sound(one)) is not None], "next" in body["_links"])


def whole(name: str, version: int) -> dict[str, Any] | None:
    """One version with its build; None where there is none."""
    found = _asked({"name": name, "version": version}, max_results="1")["_items"]
    return sound(found[0]) if found else None


def sound(document: Json) -> dict[str, Any] | None:
    """A version without what is of another type than a version has, as other programs write; None where it is none."""
    if not all(isinstance(document.get(name), kind) for name, kind in NEEDED.items()):
        return None
    kept = {
        name: value
        for name, value in document.items()
        if name not in KINDS or (isinstance(value, list) and all(KINDS[name](one) for one in value))
    }
    return {**kept, **{name: kept[name] if isinstance(kept.get(name), str) else "" for name in TEXTS}}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("shape"), list) and {"name", "dtype"} <= value.keys()


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


NEEDED: Mapping[str, type] = {"name": str, "version": int, "state": str}
TEXTS = ("_created", "description")
KINDS: Mapping[str, Callable[[Any], bool]] = {
    "aliases": _is_text,
    "classes": _is_text,
    "inputs": _is_tensor,
    "outputs": _is_tensor,
}


def may_change(caller: Caller, document: Json) -> bool:
    """Whether this caller may move aliases to this version, change and retire it."""
    service: Service = current_app.extensions["service"]
    if caller.role not in roles_for("models|item_lookup", "PATCH"):
        return False
    return RESOURCES["models"].allows(service, document, caller, "PATCH")


def may_register(caller: Caller) -> bool:
    """Whether this caller may upload models."""
    return caller.role in roles_for("model_files.register", "POST")


def may_predict(caller: Caller, name: str | None = None) -> bool:
    """Whether this caller may predict; with the model of this name."""
    return caller.role in roles_for("predict.default", "POST") and (name is None or caller.may_use(name))


def _asked(where: Json, **query: str) -> Any:
    asked = {"where": json.dumps(where), "sort": "name,-version", **query}
    answered = ask(Sent("GET", f"{API}/models", urlencode(asked)))
    if answered.status != 200:
        raise ApiError(answered.status, answered.json["_error"]["message"])
    return answered.json
