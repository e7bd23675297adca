"""JSON as HTML: indented, with ids, names and times as what they stand for; long tensors by their shape."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup, escape

from api.console.negotiation import API
from api.resources import RESOURCES

ID = re.compile(r"[0-9a-f]{24}\Z")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z")
#: Values of a list that are shown; a longer one is described. Characters of a text.
MOST_VALUES = 1024
MOST_TEXT = 20_000
#: Characters of a cell, and of an id in one.
CELL = 60
TAIL = 8


def link_of(resource: str, name: str, value: Any) -> str | None:
    """Where the value of a field leads, by the name of the field; None where it leads nowhere.

    `job` of a result is a document of `jobs`, `inputs` of a job are of `inputs`, `model` is a name.
    """
    if not isinstance(value, str):
        return None
    if len(value) == 24 and ID.match(value):
        rules = RESOURCES[resource].schema.get(name, {}) if resource in RESOURCES else {}
        of = rules.get("data_relation", {}).get("resource")
        for other in (of, resource if name == "_id" else None, name, f"{name}s"):
            if other in RESOURCES:
                return f"{API}/{other}/{value}"
    return versions_of(value) if name == "model" else None


@functools.lru_cache(maxsize=1000)
def versions_of(model: str) -> str:
    """The list of a model's versions."""
    return f"{API}/models?" + urlencode({"where": json.dumps({"name": model})})


def time_tag(value: str) -> Markup:
    """A time, in UTC until a script puts it into the reader's zone; both have as many characters, so nothing moves."""
    shown = f"{value[:10]} {value[11:19]} +00:00"
    at = escape(value)
    # Lists have thousands of times and links: Markup.format takes three times as long.
    return Markup(f'<time datetime="{at}" title="{at}">{escape(shown)}</time>')  # noqa: S704 # nosec B704 # escapes


def document_html(value: Any, resource: str = "") -> Markup:
    """A whole answer."""
    return _value(value, resource, "", "")


def cell_html(value: Any, resource: str, name: str) -> Markup:
    """A value in a table: short, whatever it is."""
    if value is None:
        return Markup("")
    if isinstance(value, bool):
        return escape("yes" if value else "no")
    if isinstance(value, str):
        link = link_of(resource, name, value)
        return short_id(value, link) or _linked(value, link, CELL)
    if isinstance(value, Mapping) and {"dtype", "shape"} <= value.keys():
        return escape(f"{value['dtype']}{value['shape']}")
    if isinstance(value, Mapping) and "_id" in value:  # an embedded document
        return cell_html(str(value["_id"]), resource, name)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        shown = Markup(", ").join(cell_html(item, resource, name) for item in value[:5])
        return shown + Markup(" …") if len(value) > 5 else shown
    shape = _shape(value)
    if len(shape) > 1 or (shape and shape[0] > 8):
        return escape(f"{'×'.join(map(str, shape))} values")
    if isinstance(value, Mapping) and len(value) == 1:
        ((inner, tensor),) = value.items()
        return escape(f"{inner}: ") + cell_html(tensor, resource, "")
    if isinstance(value, Mapping) and not any(isinstance(item, (list, Mapping)) for item in value.values()):
        return escape(", ".join(f"{key} {item}" for key, item in value.items() if item is not None)[:CELL])
    text = f"{value:.6g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
    return escape(text if len(text) <= CELL else text[: CELL - 1] + "…")


def short_id(value: str, address: str | None, before: str = "") -> Markup:
    """A link to a document by the end of its id, which differs among those of one moment; nothing where it is none."""
    if not ID.match(value) or address is None:
        return Markup("")
    words = escape(f"{before}…{value[-TAIL:]}")
    return Markup(f'<a href="{escape(address)}" title="{value}">{words}</a>')  # noqa: S704 # nosec B704 # escapes


def _value(value: Any, resource: str, name: str, indent: str) -> Markup:
    deeper = indent + "  "
    if isinstance(value, Mapping):
        if not value:
            return Markup("{}")
        inner = [
            Markup('{}<span class="key">"{}"</span>: {}').format(  # nosec B704 # escapes
                deeper, key, _value(item, *_meant(key, value, resource), deeper)
            )
            for key, item in value.items()
        ]
        return Markup("{{\n{}\n{}}}").format(Markup(",\n").join(inner), indent)  # nosec B704
    if isinstance(value, list):
        return _list(value, resource, name, indent)
    if isinstance(value, str):
        return Markup('<span class="text">"{}"</span>').format(_text(value, resource, name, MOST_TEXT))  # nosec B704
    return Markup('<span class="value">{}</span>').format(json.dumps(value))  # nosec B704 # escapes


def _meant(key: str, value: Mapping[str, Any], resource: str) -> tuple[str, str]:
    """Of which resource and field the value of a key is: an entry of the audit says whose documents it names."""
    of = value.get("resource")
    if resource == "audit" and key in ("documents", "last") and isinstance(of, str) and of in RESOURCES:
        return of, "_id"
    return _inside(key, resource), key


def _inside(key: str, resource: str) -> str:
    """Of which resource the documents below a key are."""
    if key == "predictions":
        return "results"
    return next((other for other in (key, f"{key}s") if other in RESOURCES), resource)


def _list(value: list[Any], resource: str, name: str, indent: str) -> Markup:
    shape = _shape(value)
    count = 1
    for length in shape:
        count *= length
    if shape and count > MOST_VALUES:
        text = f"{'×'.join(map(str, shape))} values; the request below shows them"
        return Markup('<span class="left-out">[ {} ]</span>').format(text)  # nosec B704 # escapes
    if not any(isinstance(item, (list, Mapping)) for item in value):
        if value and not isinstance(value[0], str):
            numbers = json.dumps(value)
            return Markup('<span class="value">{}</span>').format(numbers)  # nosec B704 # escapes
        inner = [_value(item, resource, name, indent) for item in value]
        return Markup("[{}]").format(Markup(", ").join(inner))  # nosec B704
    deeper = indent + "  "
    inner = [Markup("{}{}").format(deeper, _value(item, resource, name, deeper)) for item in value]  # nosec B704
    return Markup("[\n{}\n{}]").format(Markup(",\n").join(inner), indent)  # nosec B704


def _text(value: str, resource: str, name: str, most: int) -> Markup:
    return _linked(value, link_of(resource, name, value), most)


def _linked(value: str, link: str | None, most: int) -> Markup:
    if TIME.match(value):
        return time_tag(value)
    shown = value if len(value) <= most else value[: most - 1] + "…"
    if link is None and value.startswith(f"{API}/"):
        link = value
    if link is not None:
        return Markup(f'<a href="{escape(link)}">{escape(shown)}</a>')  # noqa: S704 # nosec B704 # escapes
    return escape(shown)


def _shape(value: Any) -> list[int]:
    """The shape of nested lists of plain values, by the first of each."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return [] if isinstance(value, Mapping) else shape
