"""`/console/results/<id>`: one result beside its input, and what is true of it, marked by a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from flask import Blueprint, flash, redirect, request
from werkzeug.exceptions import NotFound

from api.auth.browsers import TOKEN_FIELD, check_token
from api.auth.caller import current_caller
from api.console import layout
from api.console.images import is_picture, png_of
from api.console.reading import document, issues_of, may, send, version_of
from api.console.result_filter import Filter, about, filter_of
from api.console.results_page import review_of
from api.console.tensors import Looks, by_name, looks_of, stored
from api.openapi.describe import no_operation
from api.render import loads
from api.responses import AlmanacResponse
from ml.service import WINDOW, truth_text
from ml.tensors import TensorIssues, from_stored

blueprint = Blueprint("result_page", __name__, url_prefix="/console", template_folder="templates")

#: Classes that have a button, and those that can be chosen by the beginning of their name.
MOST_BUTTONS = 10
MOST_NAMES = 2000
#: Results after one that are looked at for one that is not marked.
AHEAD = 500


@dataclass(frozen=True, slots=True)
class Choice:
    """A class that can be marked, and the key that does it."""

    name: str
    key: str


@blueprint.get("/results/<ObjectId:result_id>")
@no_operation
def page(result_id: ObjectId) -> AlmanacResponse:
    """The result; the address has the filter of the list that it is in."""
    return _page(result_id)


@blueprint.post("/results/<ObjectId:result_id>")
@no_operation
def mark(result_id: ObjectId) -> Any:
    """Write what is true, or a note, and go to the next that is not marked."""
    check_token(request.form.get(TOKEN_FIELD))
    form = request.form
    changes: dict[str, Any] = {}
    if "clear" in form:
        changes["truth"] = None
    elif "truth" in form:
        changes["truth"] = form["truth"]
    elif form.get("other", "").strip():
        changes["truth"] = _typed(form["other"].strip(), numbers="numbers" in form)
    note = form.get("note", "").replace("\r\n", "\n").strip()
    if note != form.get("noted", "").replace("\r\n", "\n").strip():
        changes["note"] = note or None
    if not changes:
        return _page(result_id, "Nothing was chosen or typed.", 422)
    before = document("results", result_id, projection={"model": 1, "version": 1})
    if before is None:
        raise NotFound
    filter_ = about(filter_of(request.args), before.get("model"), before.get("version"))
    following = _following(filter_, result_id) if changes.get("truth") is not None else None
    tag = form.get("_etag", "")
    answered = send("PATCH", f"results/{result_id}", changes, If_Match=f'"{tag}"' if tag.isalnum() else "*")
    if answered.status == 412:
        return _page(result_id, "Somebody changed it meanwhile: look at what is there now, and mark it again.", 412)
    if answered.status != 200:
        message, issues = issues_of(answered)
        return _page(result_id, "; ".join([message, *issues.values()]), answered.status)
    if changes.get("truth") is None:
        flash("Saved." if "note" in changes else "The mark is taken away.")
        return redirect(f"/console/results/{result_id}?{filter_.query()}", 303)
    if following is None:
        flash("Marked. Here are none left that are not.")
        return redirect(f"/console/results?{filter_.query()}", 303)
    return redirect(f"/console/results/{following}?{filter_.query()}", 303)


@blueprint.get("/inputs/<ObjectId:input_id>/image.png")
@no_operation
def input_picture(input_id: ObjectId) -> AlmanacResponse:
    """An input as a picture; `?name=` says which tensor where there are several."""
    return _picture(stored("inputs", input_id, "data"))


@blueprint.get("/results/<ObjectId:result_id>/image.png")
@no_operation
def output_picture(result_id: ObjectId) -> AlmanacResponse:
    """An output as a picture; `?name=` says which."""
    return _picture(stored("results", result_id, "output"))


def _page(result_id: ObjectId, message: str = "", status: int = 200) -> AlmanacResponse:
    result = document("results", result_id, projection={"output": 0})
    if result is None:
        raise NotFound
    filter_ = about(filter_of(request.args), result.get("model"), result.get("version"))
    ids = [] if filter_.errors else review_of().ids(filter_.wanted, current_caller().scope("results"))
    at = ids.index(result_id) if result_id in ids else None
    model = version_of(result.get("model"), result.get("version"))
    classes = [str(name) for name in model.get("classes") or ()]
    input_id, data = result.get("input"), None
    if isinstance(input_id, str) and ObjectId.is_valid(input_id):
        data = stored("inputs", ObjectId(input_id), "data")
    output = stored("results", result_id, "output")
    label = result.get("label")
    outputs = [] if output is None else _looks(output, classes, label if isinstance(label, str) else None)
    bars = next((looks.bars for looks in outputs if looks.kind == "bars"), [])
    return layout.page(
        "result.html",
        status,
        result=result,
        truth=truth_text(result["truth"]) if result.get("truth") is not None else None,
        message=message,
        filter=filter_,
        at=at,
        among=len(ids),
        window=WINDOW,
        previous=ids[at - 1] if at else None,
        next=ids[at + 1] if at is not None and at + 1 < len(ids) else None,
        inputs=[] if data is None else _looks(data),
        outputs=outputs,
        may_mark=may("results|item_lookup", "PATCH"),
        choices=_choices(classes, [bar.name for bar in bars]),
        names=classes if MOST_BUTTONS < len(classes) <= MOST_NAMES else [],
        has_classes=bool(classes),
    )


def _looks(value: Any, classes: Sequence[str] = (), chosen: str | None = None) -> list[Looks]:
    tensors = by_name(value)
    # Classes are of the sole output.
    names = classes if len(tensors) == 1 else ()
    return [looks_of(str(name), tensor, names, chosen) for name, tensor in tensors.items()]


def _choices(classes: Sequence[str], likely: Sequence[str]) -> list[Choice]:
    """The classes that have a button: all where they are few, else the likeliest. A digit is its own key."""
    shown = list(classes) if len(classes) <= MOST_BUTTONS else [*likely, *classes][:MOST_BUTTONS]
    if all(len(name) == 1 and name in "0123456789" for name in shown):
        return [Choice(name, name) for name in shown]
    return [Choice(name, str((at + 1) % 10)) for at, name in enumerate(shown)]


def _following(filter_: Filter, result_id: ObjectId) -> ObjectId | None:
    """The next of the list, from this one on and then from its beginning, that nobody has marked."""
    if filter_.errors:
        return None
    scope = current_caller().scope("results")
    ids = review_of().ids(filter_.wanted, scope)
    at = ids.index(result_id) if result_id in ids else -1
    others = ids[at + 1 :] + ids[: max(at, 0)]
    if filter_.wanted.marked == "no":
        return next(iter(others), None)
    if filter_.wanted.marked is not None or filter_.wanted.truth is not None:
        return next(iter(ids[at + 1 :]), None)  # people correct what they marked
    return review_of().first_unmarked(others[:AHEAD], scope)


def _typed(text: str, *, numbers: bool) -> Any:
    """What somebody typed as the truth; where the model has no classes, a number is one."""
    if not numbers:
        return text
    try:
        found = loads(text)
    except ValueError:
        return text
    return found if isinstance(found, (int, float)) else text


def _picture(value: Any) -> AlmanacResponse:
    tensors = by_name(value) if value is not None else {}
    name = request.args.get("name", "")
    tensor = tensors.get(name) if name or "" in tensors else next(iter(tensors.values()), None)
    try:
        array = from_stored(tensor) if tensor is not None else None
    except TensorIssues:
        array = None
    if array is None or not is_picture(array.shape) or array.dtype.kind not in "iuf":
        raise NotFound
    return AlmanacResponse(png_of(array), mimetype="image/png")
