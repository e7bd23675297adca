"""`/console/models/<name>/try`: a form made of a model's signature, and what the model answers."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, current_app, redirect, request
from werkzeug.datastructures import MultiDict

from api.auth.browsers import TOKEN_FIELD, check_token
from api.auth.caller import current_caller
from api.console import layout
from api.console.advice import advice_for
from api.console.inner import Sent, ask
from api.console.negotiation import API
from api.console.try_answer import TryAnswer, answer_of
from api.console.try_fields import Incomplete, fields_of, fill, row_of, typed
from api.console.try_ranges import OTHERWISE, RANGES, newest_rows, range_of
from api.console.versions import listed
from api.errors import ApiError
from api.openapi.describe import no_operation
from api.responses import AlmanacResponse
from ml.service import Service, Signature

blueprint = Blueprint("try_page", __name__, url_prefix="/console", template_folder="templates")

#: A request of a script that wants the answer alone.
PART_HEADER = "X-Part"


@blueprint.get("/try")
@no_operation
def choose() -> Any:
    """Which model; where there is one, on to it."""
    caller = current_caller()
    items = listed({"state": "available"}).items
    names = list(dict.fromkeys(one["name"] for one in items if caller.may_use(one["name"])))
    if len(names) == 1:
        return redirect(f"/console/models/{names[0]}/try", 303)
    about = {one["name"]: one.get("description") for one in reversed(items)}
    return layout.page("try_choose.html", names=names, about=about)


@blueprint.get("/models/<name>/try")
@no_operation
def page(name: str) -> Any:
    """The form of the version that `?version=` or `?alias=` says, else of that which answers the name."""
    return Trial(name, request.args).begin().page()


@blueprint.post("/models/<name>/try")
@no_operation
def predict(name: str) -> Any:
    """Predict with what is filled in; the page again with the answer, or the answer alone."""
    check_token(request.form.get(TOKEN_FIELD))
    return Trial(name, request.form).predict()


class Trial:
    """One form and its answer. `asked` says which version."""

    def __init__(self, name: str, asked: Any) -> None:
        self.name = name
        self.alias = asked.get("alias") or None
        number = asked.get("version") or ""
        self.version = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None
        chosen = asked.get("as", "")  # what the list of versions sends: `v3`, `a.stable`
        if chosen.startswith("v") and chosen[1:].isascii() and chosen[1:].isdigit() and len(chosen) < 10:
            self.version = int(chosen[1:])
        elif chosen.startswith("a."):
            self.alias = chosen[2:]
        service: Service = current_app.extensions["service"]
        # It is loaded from now on, while the form is filled in.
        self.meant = service.registry.meant(name, self.version, self.alias if self.version is None else None).version
        try:
            self.signature = Signature.from_document(self.meant.document)
        except (KeyError, TypeError, ValueError):  # another program's
            raise ApiError(409, f"the document of {self.meant} does not say what it takes") from None
        self.fields = fields_of(self.signature)
        self.range = OTHERWISE
        self.problem: dict[str, Any] = {}
        self.answer: TryAnswer | None = None

    @property
    def path(self) -> str:
        """Where predict is asked for what was chosen."""
        below = f"/versions/{self.version}" if self.version is not None else f"/aliases/{self.alias}"
        return f"{API}/models/{self.name}{below if self.version is not None or self.alias else ''}/predict"

    @property
    def chosen(self) -> str:
        return f"v{self.version}" if self.version is not None else f"a.{self.alias}" if self.alias else ""

    def page(self, status: int = 200) -> AlmanacResponse:
        if request.headers.get(PART_HEADER) == "answer":
            part = layout.page("try_part.html", status, **self._shown())
            part.headers[PART_HEADER] = "answer"
            return part
        items = listed({"name": self.name, "state": "available"}, most=50).items
        return layout.page(
            "try.html",
            status,
            **self._shown(),
            versions=[one["version"] for one in items],
            aliases={alias: one["version"] for one in items for alias in one.get("aliases", ())},
            chosen=self.chosen,
            fields=self.fields,
            ranges=RANGES,
            range=self.range,
            draws=any(one.kind == "draw" for one in self.fields),
            sends_files=any(one.file for one in self.fields),
        )

    def predict(self) -> AlmanacResponse:
        """Ask for the prediction, in the caller's name."""
        typed(self.fields, request.form)
        self.range = request.form.get("range", OTHERWISE)
        try:
            sent = self._sent()
        except Incomplete as error:
            self.problem = {"message": str(error), "issues": {}}
            self.problem["issues"] = {one.spec.name: "; ".join(one.errors) for one in self.fields if one.errors}
            return self.page(422)
        answered = ask(sent)
        body = answered.json
        if answered.status != 200:
            message = body.get("_error", {}).get("message", "It was refused")
            self.problem = {"message": f"{message[:1].upper()}{message[1:]}.", "issues": body.get("_issues", {})}
            self.problem["advice"] = advice_for(answered.status)
            return self.page(answered.status)
        names = [spec.name for spec in self.signature.outputs]
        classes = self.meant.document.get("classes") or ()
        self.answer = answer_of(body, names, classes, sent, request.host_url.rstrip("/"))
        return self.page()

    def begin(self) -> Trial:
        """Fill the form with what the model saw last, so that it can be asked at once."""
        rows = newest_rows(current_caller(), self.name, self.meant.number)
        self.range = range_of(rows)
        if rows:
            fill(self.fields, rows[0])
        return self

    def _sent(self) -> Sent:
        file = request.files.get("file")
        if file is not None and file.filename and any(one.file for one in self.fields):
            fields: MultiDict[str, str] = MultiDict({"resize": "true"})
            return Sent("POST", self.path, form=(fields, MultiDict({"file": file})))
        row = row_of(self.fields)
        return Sent("POST", self.path, body=json.dumps({"instances": [row]}, separators=(",", ":")).encode())

    def _shown(self) -> dict[str, Any]:
        return {"name": self.name, "meant": self.meant, "answer": self.answer, "problem": self.problem}
