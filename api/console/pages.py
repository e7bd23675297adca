"""The page of an address of the API: the answer that a program gets, and what can be done there, for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import current_app, g, request
from markupsafe import Markup

from api.auth.caller import Caller
from api.console import layout
from api.console.advice import advice_for
from api.console.curl import curl_line
from api.console.examples import fill_example
from api.console.filters import Filters, filters_of
from api.console.forms import Form, form_named, forms_of
from api.console.inner import Answered, Sent
from api.console.json_html import ID, document_html, link_of
from api.console.navigation import console_page
from api.console.negotiation import API
from api.console.operations import Offer, Operations, newest, readable, resource_at
from api.console.tables import Paging, Table, paging_of, table_of
from api.render import dumps, loads
from api.resources import RESOURCES
from api.resources.base import Resource
from api.responses import AlmanacResponse
from ml.service import Service

#: Headers that are said to browsers alone.
UNSHOWN = frozenset({"set-cookie", "content-length"})


@dataclass(slots=True)
class Does:
    """An operation with its forms."""

    offer: Offer
    forms: list[Form]

    @property
    def open(self) -> bool:
        return any(form.open for form in self.forms)


@dataclass(slots=True)
class Content:
    """What is on the page besides its layout."""

    title: str
    about: str = ""
    table: Table | None = None
    paging: Paging | None = None
    filters: Filters | None = None
    document: Markup | None = None
    error: str = ""
    issues: dict[str, str] = field(default_factory=dict)
    advice: str = ""
    #: Where people see the same.
    console: str | None = None
    #: Words and addresses.
    links: list[tuple[str, str]] = field(default_factory=list)
    steps: Mapping[str, str] = field(default_factory=dict)
    #: The entity tag that a step is for.
    etag: str | None = None
    children: list[tuple[str, str, str]] = field(default_factory=list)


def operations() -> Operations:
    """Those of the present app, which are put together at the first page."""
    found: Operations | None = current_app.extensions.get("operations")
    if found is None:
        found = current_app.extensions["operations"] = Operations(current_app)
    return found


def show(sent: Sent, answered: Answered, form: Form | None = None) -> AlmanacResponse:
    """The page of an answer. `form` is one that was refused, or answered, with what was typed into it."""
    caller: Caller | None = g.get("caller")
    headers = _headers(answered)
    body = answered.json
    body = body if isinstance(body, dict) else {"_items": body}
    offers = operations().at(sent.path, caller) if caller is not None else []
    status = answered.status
    if status == 405 and sent.method == "GET" and offers:
        # What can only be sent something has a page all the same: its form.
        status, body, headers = 200, {}, []
        sent = _example(offers[0])
    content = _content(sent, body, status, offers, caller)
    does = _does(offers, body, caller, form)
    if form is None and len(does) == 1 and not body:
        does[0].forms[0].open = True
    refused = form if form is not None and form.message else None
    if form is not None and refused is not None and not any(form in one.forms for one in does):
        # What was refused is not offered (any more).
        content.error, content.issues, content.advice, refused = form.message, form.errors, form.advice, None
    return layout.page(
        "browse.html",
        status,
        content=content,
        crumbs=crumbs_of(sent.path),
        does=does,
        refused=refused,
        sent=sent,
        status=status,
        headers=headers,
        curl=curl_line(sent, request.host_url.rstrip("/")),
    )


def _example(offer: Offer) -> Sent:
    """The request that a program would send, with the example that describes it."""
    made = Sent(offer.method, offer.path)
    form = form_named(forms_of(operations(), offer), "json")
    if form is not None:
        fill_example(offer, [form])
        made.body = dumps(loads(form.body)).rstrip()
    return made


def crumbs_of(path: str) -> list[tuple[str, str | None]]:
    """The parts of a path and where each leads, the last nowhere; parts that are no address lead nowhere either."""
    parts = [part for part in path.removeprefix(API).split("/") if part]
    crumbs: list[tuple[str, str | None]] = [("API", f"{API}/")]
    for index, part in enumerate(parts):
        crumbs.append((part, _address(parts[: index + 1])))
    return [*crumbs[:-1], (crumbs[-1][0], None)]


def _address(parts: list[str]) -> str | None:
    """Where the first parts of a path lead; that of a model's name to its versions."""
    if parts[0] not in RESOURCES or len(parts) > 2:
        return None
    path = "/".join([API, *parts])
    return path if len(parts) == 1 or ID.match(parts[1]) else link_of(parts[0], "model", parts[1])


def _content(sent: Sent, body: Mapping[str, Any], status: int, offers: list[Offer], caller: Caller | None) -> Content:
    resource = resource_at(sent.path)
    reading = next((offer for offer in offers if offer.method == sent.method), offers[0] if offers else None)
    content = Content(title=reading.summary if reading is not None else sent.path)
    if reading is not None:
        content.about = reading.description
    if "_error" in body:
        content.title = _ERRORS.get(status, "It did not work")
        content.about = ""
        content.error = body["_error"]["message"]
        content.issues = issues_of(body)
        content.advice = advice_for(status)
    elif sent.path.rstrip("/") == API and caller is not None:
        content.title = "The API"
        content.about = "Everything that programs can do here, for people: look, filter, make, change."
        content.children = [(one.name, newest(one), one.about) for one in readable(caller)]
        content.children += [(one.summary, one.path, one.description) for one in operations().without_parts(caller)]
    elif resource is not None and "_meta" in body:
        args = dict(parse_qsl(sent.query))
        content.title, content.about = resource.name.capitalize(), resource.about
        content.table = table_of(resource, body["_items"], projected="projection" in args)
        content.paging = paging_of(sent.path, args, body)
        content.console = console_page(resource.name)
    else:
        content.document = document_html(body, resource.name if resource else "") if body else None
        if resource is not None and sent.method == "GET" and "_id" in body and caller is not None:
            content.title, content.about = _title(resource, body), resource.about
            _add_neighbours(content, resource, body, sent.path, caller)
    if resource is not None and sent.path == f"{API}/{resource.name}" and sent.method == "GET" and offers:
        content.filters = filters_of(resource, dict(parse_qsl(sent.query)))
    return content


def _add_neighbours(content: Content, resource: Resource, body: Mapping[str, Any], path: str, caller: Caller) -> None:
    """What a document leads to: addresses below it, and what refers to it; and buttons for what is often done to it."""
    content.console = console_page(resource.name, body)
    template = f"{API}/{resource.name}/{{id}}"
    content.links = [(offer.summary, offer.path) for offer in operations().below(template, path, body, caller)] + list(
        referring(resource, body, caller)
    )
    may = any(offer.method == "PATCH" for offer in operations().at(path, caller))
    if may and _allows(resource, body, caller, "PATCH"):
        content.steps = {words: json.dumps(change) for words, change in resource.steps(body).items()}
        content.etag = body["_etag"]


def referring(resource: Resource, body: Mapping[str, Any], caller: Caller) -> list[tuple[str, str]]:
    """Lists of the documents that refer to this one, by the fields that do."""
    found = []
    for other in readable(caller):
        asked: dict[str, Any] = {}
        for name, rules in other.schema.items():
            kind, relation = rules.get("type"), rules.get("data_relation", {}).get("resource")
            if kind == "objectid" and resource.name in (relation, name, f"{name}s"):
                asked[name] = body["_id"]
        if resource.name == "models" and other.name != "models" and "model" in other.schema and "name" in body:
            asked["model"] = body["name"]
            if "version" in other.schema:
                asked["version"] = body["version"]
        if asked:
            # By time where an index has it of these.
            by = other.newest if "model" in asked else "_id"
            query = urlencode({"where": json.dumps(asked), "sort": f"-{by}"})
            found.append((f"{other.name.capitalize()} of this {resource.singular}", f"{API}/{other.name}?{query}"))
    return found


def _does(offers: list[Offer], body: Mapping[str, Any], caller: Caller | None, form: Form | None) -> list[Does]:
    does = []
    for offer in offers:
        if offer.method == "GET" or caller is None:
            continue
        resource = resource_at(offer.path)
        present = body if "_id" in body and "_error" not in body else None
        of_document = offer.method in ("PATCH", "DELETE") and resource is not None
        if of_document and (present is None or not _allows(resource, present, caller, offer.method)):
            continue
        forms = forms_of(operations(), offer, present)
        if form is not None and form.offer.method == offer.method and form_named(forms, form.way):
            forms = [form if one.way == form.way else one for one in forms]
        fill_example(offer, [one for one in forms if one is not form])
        does.append(Does(offer, forms))
    return does


def _title(resource: Resource, body: Mapping[str, Any]) -> str:
    """What a document is called: by its names where it has any."""
    named = [str(body[name]) for name in ("name", "version") if name in body] if "name" in body else [body["_id"]]
    return f"{resource.singular.capitalize()} {' '.join(named)}"


def issues_of(body: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong, by place; of a list that was sent, with the number of each."""
    issues = {place: str(reason) for place, reason in body.get("_issues", {}).items()}
    for index, item in enumerate(body.get("_items", ())):
        issues.update({f"[{index}].{place}": str(reason) for place, reason in item.get("_issues", {}).items()})
    return issues


def _headers(answered: Answered) -> list[tuple[str, str]]:
    shown = [(name, value) for name, value in answered.headers if name.lower() not in UNSHOWN]
    if not any(name == "X-Request-ID" for name, _ in shown):
        shown.append(("X-Request-ID", g.request_id))
    return shown


def _allows(resource: Resource | None, document: Mapping[str, Any], caller: Caller, method: str) -> bool:
    service: Service = current_app.extensions["service"]
    return resource is None or resource.allows(service, document, caller, method)


_ERRORS = {
    400: "This cannot be asked",
    403: "You may not do this",
    404: "There is nothing here",
    405: "This cannot be done here",
    409: "Not in its present state",
    412: "It was changed meanwhile",
    413: "This is too large",
    415: "This is of the wrong type",
    422: "Something does not fit",
    429: "Too many requests",
    503: "Not available now",
    504: "No answer in time",
}
