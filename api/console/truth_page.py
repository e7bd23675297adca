"""`/console/models/<name>/truth`: how much of what was marked of a version is right, and what it took for what."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, request
from werkzeug.exceptions import NotFound

from api.auth.caller import current_caller
from api.console import layout
from api.console.figures import matrix_of
from api.console.reading import versions
from api.console.results_page import review_of
from api.openapi.describe import no_operation
from api.render import time
from api.responses import AlmanacResponse

blueprint = Blueprint("truth_page", __name__, url_prefix="/console", template_folder="templates")

#: Classes of a matrix that can be read, and confusions that are listed.
MOST_IN_MATRIX = 20
MOST_CONFUSED = 10


@blueprint.get("/models/<name>/truth")
@no_operation
def page(name: str) -> AlmanacResponse:
    """The accuracy of one version, the newest unless `?version=` names another."""
    found = versions(name=name)
    if not found:
        raise NotFound
    wanted = request.args.get("version", "")
    version = next((one for one in found if str(one["version"]) == wanted), None)
    if version is None and wanted:
        raise NotFound
    version = version or next((one for one in found if one.get("state") == "available"), found[0])
    number = version["version"]
    marks = review_of().marks(name, number, current_caller().scope("results"))
    counts = {(pair.truth, pair.label): pair.count for pair in marks.pairs if pair.label is not None}
    names = _names([str(one) for one in version.get("classes") or ()], counts)

    def results(**asked: Any) -> str:
        return "/console/results?" + urlencode({"model": name, "version": number, **asked})

    return layout.page(
        "truth.html",
        name=name,
        version=version,
        versions=sorted({one["version"] for one in found}, reverse=True),
        marks=marks,
        at=time(marks.at),
        matrix=matrix_of(counts, names) if 0 < len(names) <= MOST_IN_MATRIX else None,
        recalls=_recalls(counts, names)[:MOST_IN_MATRIX],
        confused=[pair for pair in marks.pairs if pair.label is not None and pair.label != pair.truth][:MOST_CONFUSED],
        results=results,
    )


def _names(classes: list[str], counts: dict[tuple[str, str], int]) -> list[str]:
    """The rows and columns: the classes in their order, then what was marked besides; of many only what is there."""
    there = {name for pair in counts for name in pair}
    others = sorted(there - set(classes))
    if len(classes) + len(others) > MOST_IN_MATRIX:
        classes = [name for name in classes if name in there]
    return [*classes, *others] if counts else []


def _recalls(counts: dict[tuple[str, str], int], names: list[str]) -> list[dict[str, Any]]:
    """Of each truth how often it was marked, how many of these have its label, and of the label how many are true."""
    found = []
    for name in names:
        marked = sum(count for (truth, _), count in counts.items() if truth == name)
        called = sum(count for (_, label), count in counts.items() if label == name)
        right = counts.get((name, name), 0)
        if marked or called:
            found.append(
                {
                    "name": name,
                    "marked": marked,
                    "right": right,
                    "recall": right / marked if marked else None,
                    "precision": right / called if called else None,
                }
            )
    return found
