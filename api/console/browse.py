"""What a page's forms are sent to: a filter becomes an address, anything else the request that a program would send.

A browser can send forms alone, and the API takes none; so a form says what it means, and a request is made of that in
its sender's name (inner.py). Refusals show the form again, with what was typed and what is wrong with it.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from flask import Blueprint, current_app, flash, redirect, request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import NotFound

from api.auth.browsers import TOKEN_FIELD, check_token
from api.auth.caller import current_caller
from api.console.advice import advice_for
from api.console.fields import PREFIX, document_of, fields_of, typed
from api.console.filters import query_of
from api.console.forms import BODY, KEY, METHOD, TAG, WAY, Form, form_named, forms_of, new_key
from api.console.inner import Answered, Sent, ask
from api.console.negotiation import API
from api.console.operations import METHODS, Offer, resource_at
from api.console.pages import issues_of, operations, show
from api.openapi.describe import no_operation
from api.render import dumps
from api.resources import RESOURCES
from api.responses import AlmanacResponse

blueprint = Blueprint("browse", __name__, url_prefix="/browse", template_folder="templates")

#: An entity tag, or an Idempotency-Key, as it may stand in a header.
SANE = re.compile(r"[!-~]{1,255}\Z")


@blueprint.get("/<path:path>", endpoint="show")
@no_operation
def address_of(path: str) -> Any:
    """To the page itself; a filter that was filled in becomes its query string."""
    address = _address(path)
    resource = resource_at(address)
    query = query_of(resource, request.args) if resource is not None and request.args else ""
    return redirect(address + (f"?{query}" if query else ""), 303)


@blueprint.post("/<path:path>")
@no_operation
def submit(path: str) -> Any:
    """Do what a form asks for."""
    address = _address(path)
    offers = operations().at(address, current_caller())
    if any(offer.endpoint == "model_files.register" for offer in offers):
        request.max_content_length = current_app.config["MAX_MODEL_BYTES"]
    check_token(request.form.get(TOKEN_FIELD))
    method = request.form.get(METHOD, "POST")
    offer = next((offer for offer in offers if offer.method == method and method != "GET"), None)
    if offer is None:
        # Nothing that this caller is offered: the API says why.
        sent = Sent(method if method in METHODS[1:] else "POST", address)
        return show(sent, ask(sent))
    form = _filled(offer)
    sent = _sent(form)
    if any(one.errors for one in form.fields) or form.errors:
        form.open, form.message = True, "What you typed is not complete."
        return _again(form, 422)
    answered = ask(sent)
    if answered.status >= 400:
        return _refused(form, answered)
    return _done(form, sent, answered)


def _address(path: str) -> str:
    if not f"/{path}".startswith(f"{API}/"):
        raise NotFound
    return f"/{path}"


def _filled(offer: Offer) -> Form:
    """The form as it was sent."""
    way = request.form.get(WAY, "")
    form = form_named(forms_of(operations(), offer), way)
    if form is None:
        form = Form(offer, "button") if not offer.content else Form(offer, "json")
    if offer.method == "PATCH" and form.way == "fields":
        for one in form.fields:
            one.before = ""
    typed(form.fields, request.form)
    form.body = request.form.get(BODY, "").replace("\r\n", "\n")
    form.etag = request.form.get(TAG) or None
    form.key = request.form.get(KEY) or None
    return form


def _sent(form: Form) -> Sent:
    """The request that a form means; what in it is no JSON is noted in the form."""
    headers = {}
    if form.etag and SANE.match(form.etag):
        headers["If-Match"] = form.etag if form.etag == "*" else f'"{form.etag}"'
    sent = Sent(form.offer.method, form.offer.path, headers=headers)
    if form.way == "fields":
        sent.body = dumps(document_of(form.fields)).rstrip()
    elif form.way == "json":
        sent.body = form.body.encode()
    elif form.way == "files":
        fields: MultiDict[str, str] = MultiDict()
        for one in form.fields:
            if one.kind not in ("file", "files") and one.value:
                fields.add(one.name, one.value)
        files: MultiDict[str, Any] = MultiDict()
        for name, file in request.files.items(multi=True):
            if name.startswith(PREFIX) and file.filename:
                files.add(name.removeprefix(PREFIX), file)
        sent.form = (fields, files)
    if form.key and SANE.match(form.key):
        headers["Idempotency-Key"] = f"{form.key[:100]}-{_digest(sent)}"
    return sent


def _digest(sent: Sent) -> str:
    """What tells two fillings of one form apart: who goes back and types something else asks for something else."""
    digest = hashlib.sha256(sent.body or b"")
    for fields in sent.form or ():
        for name, value in fields.items(multi=True):
            digest.update(f"{name}={getattr(value, 'filename', value)};".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]


def _refused(form: Form, answered: Answered) -> AlmanacResponse:
    """The page again, with what was typed and why it was refused."""
    body = answered.json
    form.advice = advice_for(answered.status)
    form.note(body.get("_error", {}).get("message", "It was refused."), issues_of(body))
    return _again(form, answered.status)


def _again(form: Form, status: int) -> AlmanacResponse:
    for one in form.fields:
        if one.kind == "password":
            one.value = ""
    reading = Sent("GET", form.offer.path)
    present = ask(reading)
    if status == 412 and present.status == 200:
        _compare(form, present.json)
    response = show(reading, present, form)
    response.status_code = status
    return response


def _compare(form: Form, present: dict[str, Any]) -> None:
    """Let the form be for the document as it is now, and say what in it is another than when the form was made."""
    form.etag = present["_etag"]
    now = {one.name: one for one in fields_of(_schema_of(form), operations().resolved, present)} if form.fields else {}
    for one in form.fields:
        held = now.get(one.name)
        if held is not None and held.before != one.before:
            form.changed[one.name] = held.before or "(nothing)"
            one.before = held.before


def _schema_of(form: Form) -> dict[str, Any]:
    return {"properties": {one.name: one.schema for one in form.fields}}


def _done(form: Form, sent: Sent, answered: Answered) -> Any:
    """Where what was done can be seen; an answer that is given this once is shown itself."""
    body = answered.json
    secret = any(name in body for resource in RESOURCES.values() for name in resource.secrets)
    location = answered.header("Location")
    path = "/" + location.split("/", 3)[3] if location and "://" in location else location
    if answered.status in (201, 202) and path and not secret:
        flash(f"Done: {RESOURCES[path.split('/')[3]].singular} {path.rpartition('/')[2]}")
        return redirect(path, 303)
    if form.offer.method == "DELETE":
        flash(f"Done: {form.offer.summary[0].lower()}{form.offer.summary[1:]}")
        kept = ask(Sent("GET", form.offer.path)).status == 200
        return redirect(form.offer.path if kept else form.offer.path.rpartition("/")[0] + "?sort=-_id", 303)
    if form.offer.method == "PATCH":
        flash("Saved.")
        return redirect(form.offer.path, 303)
    if answered.status == 201 and not secret:
        flash(f"Done: {len(body.get('_items', ()))} stored")
        return redirect(form.offer.path + "?sort=-_id", 303)
    # Not its file again, and nothing that was typed is to be sent twice by a reload.
    form.open = form.way != "files" and not secret
    form.key = new_key()
    if secret:
        flash("This is shown this once: keep it now.")
    return show(sent, answered, form if form.open else None)
