"""/openapi.json: the OpenAPI document, and with `?model=` that of one model."""

from __future__ import annotations

import hashlib

from flask import Blueprint, Response, current_app, request

from api import openapi
from api.auth.guard import need_key
from api.errors import ApiError
from api.openapi.describe import JSON, Answer, Media, Operation, Query, describes
from api.render import dumps
from api.responses import AlmanacResponse

blueprint = Blueprint("openapi", __name__)

#: Documents of models that are kept.
MOST_KEPT = 64


@blueprint.get("/openapi.json")
@describes(
    Operation(
        id="getOpenapi",
        tag="operations",
        summary="Get this document",
        description="Without a key; one is needed for `model`, since models are no stranger's business.",
        query=(
            Query("model", {"type": "string"}, "A model's name: predict is described as its default version has it."),
        ),
        headers=("If-None-Match",),
        answers={
            200: Answer("An OpenAPI 3.1 document.", {JSON: Media({"type": "object"})}, ("ETag",)),
            304: Answer("It still has the entity tag of If-None-Match.", {}, ("ETag",)),
        },
        errors={
            401: "`model` is asked for without a valid key.",
            404: "There is no such model; the message names those that there are.",
            409: "The model is not available; the message has its state.",
        },
        key_optional=True,
    )
)
def document() -> Response:
    """Made at the first request, for each model again when its default version is another."""
    unknown = request.args.keys() - {"model"}
    if unknown:
        raise ApiError(400, "the query is not understood", dict.fromkeys(unknown, "no such parameter; there is model"))
    given = request.args.getlist("model")
    if len(given) > 1:
        raise ApiError(400, "the query is not understood", {"model": f"given {len(given)} times"})
    if given:
        need_key()
    body, tag = _kept(given[0] if given else None)
    response = AlmanacResponse(body, mimetype=JSON, headers={"Cache-Control": "no-cache"})
    response.set_etag(tag)
    response.make_conditional(request)
    return response


def _kept(model: str | None) -> tuple[bytes, str]:
    """The document as bytes, and its entity tag."""
    kept: dict[object, tuple[bytes, str]] = current_app.extensions.setdefault("openapi", {})
    # One that is made twice, by two threads, is the same.
    key = None if model is None else openapi.facts(current_app, model)
    if key not in kept:
        body = dumps(openapi.document(current_app, model))
        if len(kept) > MOST_KEPT:
            kept.clear()
        kept[key] = body, hashlib.sha256(body).hexdigest()[:24]
    return kept[key]
