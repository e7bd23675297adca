"""`/console/models`: the names of models, and a form that uploads another."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, request

from api.console import layout
from api.console.inner import Sent, ask
from api.console.negotiation import API
from api.openapi.describe import no_operation

blueprint = Blueprint("models_page", __name__, url_prefix="/console", template_folder="templates")

#: Versions on a page.
MOST_VERSIONS = 200
#: What a list needs of each; the tables and logs of builds are left where they are.
SHORT = ("name", "version", "state", "error", "aliases", "inputs", "outputs", "classes", "executor", "owner", "size",
         "description", "_created")  # fmt: skip


def versions(page: int = 1, **where: Any) -> tuple[list[dict[str, Any]], bool]:
    """Versions by name, the newest of each first, as the API lists them; and whether there are more."""
    query = {
        "where": json.dumps(where),
        "sort": "name,-version",
        "projection": json.dumps(dict.fromkeys(SHORT, 1)),
        "max_results": str(MOST_VERSIONS),
        "page": str(page),
    }
    answered = ask(Sent("GET", f"{API}/models", urlencode(query)))
    body = answered.json
    return body.get("_items", []), "next" in body.get("_links", {})


@blueprint.get("/models")
@no_operation
def names() -> Any:
    """The names, each with its versions in short."""
    number = request.args.get("page", "1")
    page = int(number) if number.isascii() and number.isdigit() and 0 < int(number) < 10_000 else 1
    items, more = versions(page)
    grouped = [(name, list(each)) for name, each in groupby(items, key=lambda item: item["name"])]
    return layout.page("models.html", names=grouped, page=page, more=more)
