"""The list of the audit as people read it: when, who, what, whose, and how it ended; each name leads to its entries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup, escape

from api.console.json_html import TAIL, cell_html, short_id
from api.console.negotiation import API
from api.resources import RESOURCES

COLUMNS = ("when", "who", "what", "whose", "outcome", "from")
#: What an entry says of what was done.
DID: Mapping[str, str] = {
    "create": "made",
    "change": "changed",
    "delete": "deleted",
    "register": "registered",
    "retire": "retired",
    "rotate": "replaced",
    "login": "logged in",
    "logout": "logged out",
    "refuse": "was refused",
    "erase": "began to erase",
    "erased": "erased",
}
#: Of these no document is left to be looked at, and these are about none.
GONE = frozenset({"delete", "erase", "erased"})
BARE = frozenset({"login", "logout", "refuse"})
#: What was shown by whom nobody knows.
SHOWN: Mapping[str, str] = {"key": "a key", "password": "a password", "nothing": "nothing"}  # nosec B105 # words
OUTCOMES: Mapping[int, str] = {401: "not let in", 403: "not allowed", 429: "too many requests"}
#: Of several kinds.
DOCUMENTS = "documents"
MOST_CHANGED = 5


def audit_rows(items: Sequence[Mapping[str, Any]]) -> list[list[Markup]]:
    """The cells of each entry, in the order of COLUMNS."""
    return [_row(item) for item in items]


def _row(entry: Mapping[str, Any]) -> list[Markup]:
    by = entry.get("by")
    return [
        _when(entry),
        _who(by if isinstance(by, Mapping) else {}),
        _what(entry),
        _named("owner", entry.get("owner")),
        _outcome(entry),
        cell_html(entry.get("address"), "audit", "address"),
    ]


def _when(entry: Mapping[str, Any]) -> Markup:
    """The time, which leads to the entry."""
    shown = cell_html(entry.get("_created"), "audit", "_created") or escape("no time")
    return Markup('<a href="{}">{}</a>').format(f"{API}/audit/{entry.get('_id')}", shown)  # nosec B704 # escapes


def _who(by: Mapping[str, Any]) -> Markup:
    owner, via = by.get("owner"), str(by.get("via", ""))
    if via == "command line":
        return escape(f"{by.get('user', 'somebody')} at the command line")
    if not isinstance(owner, str):
        return escape(f"somebody who showed {SHOWN[via]}" if via in SHOWN else via)
    said = [str(by["role"])] if by.get("role") and by["role"] != owner else []
    said.append(f"key {by['key']}" if by.get("key") else via)
    return _named("by.owner", owner) + escape(f" ({', '.join(filter(None, said))})")


def _what(entry: Mapping[str, Any]) -> Markup:
    action, count, kind = str(entry.get("action")), entry.get("count"), entry.get("resource")
    said = escape(DID.get(action, action))
    if action == "refuse":
        target = entry.get("target")
        said += escape(f": {target}" if isinstance(target, str) else "")
        return said + escape(f", {count:,} times" if isinstance(count, int) and count > 1 else "")
    if action not in BARE:
        kind = kind if isinstance(kind, str) else DOCUMENTS
        said += Markup(" ") + _objects(kind, entry.get("documents"), count, gone=action in GONE)
    changed = entry.get("changed")
    if isinstance(changed, list) and changed:
        said += escape(f": {', '.join(map(str, changed[:MOST_CHANGED]))}{' …' if len(changed) > MOST_CHANGED else ''}")
    return said


def _objects(kind: str, documents: Any, count: Any, *, gone: bool) -> Markup:
    """What it was done to: one document by its id, more by their number."""
    if isinstance(count, int) and (count > 1 or kind == DOCUMENTS):
        return escape(f"{count:,} {kind}")
    singular = RESOURCES[kind].singular if kind in RESOURCES else kind.removesuffix("s")
    id_ = documents[0] if isinstance(documents, list) and documents else None
    article = "an" if singular[:1] in "aeio" else "a"
    if not isinstance(id_, str):
        return escape(f"{article} {singular}")
    link = short_id(id_, f"{API}/{kind}/{id_}", f"{singular} ") if kind in RESOURCES and not gone else None
    return link or escape(f"{singular} …{id_[-TAIL:]}")


def _named(field: str, name: Any) -> Markup:
    """A name that leads to the entries which have it there."""
    if not isinstance(name, str):
        return Markup("")
    query = urlencode({"where": json.dumps({field: name}), "sort": "-_created"})
    return Markup('<a href="{}">{}</a>').format(f"{API}/audit?{query}", name)  # nosec B704 # escapes


def _outcome(entry: Mapping[str, Any]) -> Markup:
    status = entry.get("status")
    refused = isinstance(status, int) and status >= 400
    words = OUTCOMES.get(status, "refused") if isinstance(status, int) and refused else "done"
    kind = "danger" if refused else "success"
    said = Markup('<span class="badge text-bg-{}">{}</span>').format(kind, words)  # nosec B704 # escapes
    return said + escape(f" {status}" if isinstance(status, int) else "")
