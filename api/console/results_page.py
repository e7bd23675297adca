"""`/console/results`: the results that a filter asks for, as pages of one window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import Blueprint, current_app, request
from markupsafe import Markup

from api.auth.caller import current_caller
from api.console import layout
from api.console.figures import number as as_number
from api.console.images import is_picture
from api.console.job_form import local
from api.console.json_html import cell_html, time_tag
from api.console.reading import number, versions
from api.console.result_filter import MARKED, ORDERS, STATES, filter_of
from api.console.versions import may_predict
from api.openapi.describe import no_operation
from api.present import present
from api.render import dumps, loads, time
from api.responses import AlmanacResponse
from ml.service import WINDOW, Review, Service, truth_text

blueprint = Blueprint("results_page", __name__, url_prefix="/console", template_folder="templates")

ON_PAGE = 25


@blueprint.get("/results")
@no_operation
def page() -> AlmanacResponse:
    """A page of the results, the filter, and where the rest is."""
    filter_ = filter_of(request.args)
    at = number(request.args.get("page"), WINDOW // ON_PAGE)
    scope = current_caller().scope("results")
    review = review_of()
    found: list[dict[str, Any]] = []
    if not filter_.errors:
        found = review.page(filter_.wanted, scope, (at - 1) * ON_PAGE, ON_PAGE + 1)
    more = len(found) > ON_PAGE
    # What lies beyond the window matters where it was looked through, and where its end is near.
    looked = filter_.wanted.least or not more
    further = review.further(filter_.wanted, scope) if looked and not filter_.errors else None
    there = versions()
    pictures = pictured(there)
    return layout.page(
        "results.html",
        422 if filter_.errors else 200,
        filter=filter_,
        results=[shown(one) for one in found[:ON_PAGE]],
        pictured=pictures,
        pictures=any((one.get("model"), one.get("version")) in pictures for one in found[:ON_PAGE]),
        local=local,
        page=at,
        more=more,
        further=filter_.beyond(further) if further is not None else None,
        looked=looked,
        window=WINDOW,
        marked=MARKED,
        orders=ORDERS,
        states=STATES,
        models=sorted({str(one["name"]) for one in there}),
        classes=_classes(there, filter_.values.get("model")),
        some=filter_.active or bool(found),
        may_predict=may_predict(current_caller()),
    )


def shown(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result as a list has it, whoever stored it."""
    error = result.get("error")
    score = result.get("score")
    return {
        **result,
        "score": as_number(score) if isinstance(score, (int, float)) else "",
        "why": error.get("message", "") if isinstance(error, Mapping) else "",
        "truth": truth_text(result["truth"]) if result.get("truth") is not None else None,
        "said": said(result.get("output")),
        "at": moment(result.get("_created")),
    }


def said(output: Any) -> Markup:
    """An output that has no label, in short."""
    if not isinstance(output, Mapping):
        return Markup("")
    shown = present("results", {"output": dict(output)}, short=True)["output"]
    return cell_html(loads(dumps(shown)), "results", "output")


def moment(value: Any) -> Markup:
    """A stored time; nothing where it is none."""
    return time_tag(time(value)) if isinstance(value, datetime) else Markup("")


def pictured(there: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, Any], str]:
    """The name of the input that is a picture, by model and version, for those that have one."""
    found = {}
    for one in there:
        inputs = one.get("inputs") or ()
        for spec in inputs:
            shape = [side if side > 0 else None for side in spec.get("shape", ())]
            if is_picture(shape):
                found[one["name"], one["version"]] = "" if len(inputs) == 1 else spec["name"]
                break
    return found


def review_of() -> Review:
    """What reads results for people."""
    service: Service = current_app.extensions["service"]
    return service.review


def _classes(there: Sequence[Mapping[str, Any]], model: str | None) -> list[str]:
    """The names of the newest version's classes, to choose among."""
    found = next((one.get("classes") or [] for one in there if one["name"] == model), [])
    return found if len(found) <= 1000 else []
