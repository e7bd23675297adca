"""Inputs as files: a multipart POST whose `file` is an image or a .npy array, and the .npy of a stored input."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import orjson
from bson import ObjectId
from flask import Blueprint, Request, Response, current_app, request
from werkzeug.exceptions import NotFound

from api.auth.caller import current_caller
from api.errors import ApiError
from api.openapi.describe import BINARY, Answer, Media, Operation, Query, describes
from api.requests import refuse_secrets
from ml.database.client import READ_MS, Document
from ml.service import MAX_ROW_BYTES, Service
from ml.tensors import (
    NPY_MAGIC,
    TensorIssues,
    from_npy,
    from_stored,
    is_packed,
    read_image,
    to_npy,
    to_stored,
)

blueprint = Blueprint("input_files", __name__, url_prefix="/api/v1")

FORM_FIELDS = frozenset({"model", "tags", "meta"})


def input_from_form(form: Request) -> Document:
    """The document of `inputs` that a multipart POST means: `file`, and model, tags and meta as JSON fields."""
    unknown = [name for name in (*form.form, *form.files) if name not in FORM_FIELDS | {"file"}]
    issues = {name: f"no such field; there are file, {', '.join(sorted(FORM_FIELDS))}" for name in unknown}
    if len(form.files.getlist("file")) != 1:
        issues["file"] = f"expected one file, got {len(form.files.getlist('file'))}"
    refuse_secrets(*(value for _, value in form.form.items(multi=True)))
    document: Document = {}
    for name in FORM_FIELDS & form.form.keys():
        if len(form.form.getlist(name)) > 1:
            issues[name] = f"expected one value, got {len(form.form.getlist(name))}"
            continue
        try:
            document[name] = form.form[name] if name == "model" else orjson.loads(form.form[name])
        except orjson.JSONDecodeError as error:
            issues[name] = f"not JSON: {error}"
    if issues:
        raise ApiError(422, "the form does not fit", issues)
    array = decode(form.files["file"].read())
    # As the JSON form of a stored tensor, so that the schema's checks see what they see otherwise.
    stored = to_stored(array)
    document["data"] = {**stored, "data": _base64(stored["data"])} if is_packed(stored) else stored
    return document


def decode(data: bytes) -> np.ndarray[Any, Any]:
    """The array in a .npy file, or the pixels of a PNG or JPEG."""
    try:
        if not data.startswith(NPY_MAGIC):
            return read_image(data, most_bytes=MAX_ROW_BYTES)
        array = from_npy(data)
        if array.nbytes > MAX_ROW_BYTES:  # before more is made of it
            raise TensorIssues({"file": f"expected at most {MAX_ROW_BYTES} bytes a row, got {array.nbytes}"})
        return array
    except TensorIssues as error:
        raise ApiError(422, "the file cannot be read", error.issues) from None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@blueprint.get("/inputs/<ObjectId:input_id>/data")
@describes(
    Operation(
        id="getInputData",
        tag="inputs",
        summary="Get an input's tensor as a .npy file",
        answers={200: Answer("The array.", {"application/x-npy": Media(BINARY)})},
        errors={
            400: "The input has several tensors, and `input` names none of them; `_issues` has their names.",
            422: "What another program stored there is no tensor.",
        },
        query=(Query("input", {"type": "string"}, "Where there are several tensors: the name of one."),),
    )
)
def data(input_id: ObjectId) -> Response:
    """A stored input as .npy; `?input=name` says which tensor where there are several."""
    unknown = request.args.keys() - {"input"}
    if unknown:
        raise ApiError(400, "the query is not understood", dict.fromkeys(unknown, "no such parameter; there is input"))
    service: Service = current_app.extensions["service"]
    scope = current_caller().scope("inputs")
    document = service.db["inputs"].find_one({"$and": [{"_id": input_id}, scope]}, {"data": True}, max_time_ms=READ_MS)
    if document is None:
        raise NotFound
    value = document["data"]
    if isinstance(value, dict) and not is_packed(value):
        name = request.args.get("input", "")
        if name not in value:
            raise ApiError(
                400, "the input has several tensors", {"input": f"expected one of {', '.join(value)}, got {name!r}"}
            )
        value = value[name]
    try:
        body = to_npy(from_stored(value))
    except TensorIssues as error:
        raise ApiError(422, "the stored data is no tensor", error.issues) from None
    return Response(body, mimetype="application/x-npy")
