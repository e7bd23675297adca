"""What a predict request asks for, read from any of its forms: JSON, a .npy batch, files."""

from __future__ import annotations

from typing import Any

import numpy as np
from bson import ObjectId
from flask import request
from werkzeug.datastructures import MultiDict

from api.errors import ApiError
from api.requests import JSON, json_body, lenient_body
from api.validation import free_form_problem
from ml.service import Signature, TensorSpec
from ml.tensors import NPY_MAGIC, TensorIssues, batch_from_npy, from_npy, parse_instances, read_body, read_image_row
from ml.tensors.values import Array, ValueIssue, cast_array, describe

NPY = "application/x-npy"
FORM = "multipart/form-data"

FIELDS = ("instances", "inputs", "meta", "store", "timeout_ms", "outputs")
#: What stands in the query string where the body is a .npy file, and in the form where files are sent.
PARAMETERS = ("store", "timeout_ms", "outputs")
STORES = ("all", "result", "none")
MAX_TIMEOUT_MS = 600_000
MOST_ROWS = 10_000
#: Rows in a request that is answered by a job. Its list of their ids stays below two megabytes of a document's sixteen.
MOST_ROWS_LATER = 100_000

Fields = dict[str, Any]


def read_request(signature: Signature, most: int = MOST_ROWS) -> Fields:
    """The fields of ml.service.Prediction that this request gives, with `most` rows at most.

    Raises 415, or 422 with what does not fit.
    """
    asked = request._get_current_object()  # type: ignore[attr-defined]
    kind = asked.mimetype
    if kind == JSON:
        _no_parameters()
        return plain_fields(asked.get_data(), signature, most) or _json(signature, most)
    try:
        if kind == NPY:
            fields = _parameters(request.args)
            fields["arrays"] = {_sole(signature).name: batch_from_npy(asked.get_data(), _sole(signature))}
        elif kind == FORM:
            _no_parameters()
            fields = _form(signature, most)
        else:
            came = request.headers.get("Content-Type") or "none"
            raise ApiError(415, f"expected Content-Type {JSON}, {NPY} or {FORM}, got {came[:100]}")
    except TensorIssues as error:
        raise ApiError(422, "the rows do not fit the model", error.issues) from None
    rows = len(next(iter(fields["arrays"].values())))
    if rows > most:
        raise ApiError(422, "too many rows", {"body": f"expected at most {most} rows, got {rows}"})
    return fields


def plain_fields(data: bytes, signature: Signature, most: int = MOST_ROWS) -> Fields | None:
    """The same for a JSON body whose rows are plain lists of numbers; None where it is not plainly right."""
    quick = read_body(data, signature)
    if quick is None:
        return None
    arrays, others = quick
    fields = check_fields({"instances": next(iter(arrays.values())), **others}, most=most)
    fields["arrays"] = arrays
    return fields


def check_later(fields: Fields) -> None:
    """Refuse what makes no sense where a job gives the answer: it stores, keeps all outputs, and is not waited for."""
    meaningless: list[str] = [name for name in ("timeout_ms", "outputs") if name in fields]
    issues = dict.fromkeys(meaningless, "has no meaning with Prefer: respond-async")
    if fields.get("store", "all") == "none" or (fields.get("store") == "result" and "inputs" not in fields):
        issues["store"] = f"expected all with Prefer: respond-async, got {describe(fields['store'])}"
    if "inputs" in fields and fields.get("meta") is not None:
        issues["meta"] = "with Prefer: respond-async stored inputs have the meta that they are stored with"
    if issues:
        raise ApiError(422, "the request does not fit", issues)


def _json(signature: Signature, most: int) -> Fields:
    try:
        return check_fields(json_body(), most=most)
    except ApiError as error:
        # Where it is no JSON for a NaN or Infinity in a row, say which row and input that is.
        body = lenient_body() if "body" in error.issues else None
        if isinstance(body, dict) and "instances" in body:
            try:
                parse_instances(body["instances"], signature)
            except TensorIssues as issues:
                error.issues.update(issues.issues)
        raise


def _form(signature: Signature, most: int) -> Fields:
    """A row for each part named `file`: an image, or the .npy of one row."""
    spec = _sole(signature)
    form = request.form
    issues = {
        name: f"no such field; there are file, resize, {', '.join(PARAMETERS)}"
        for name in (*form, *request.files)
        if name not in (*PARAMETERS, "resize", "file")
    }
    if form.get("resize", "false") not in ("true", "false"):
        issues["resize"] = f"expected true or false, got {describe(form['resize'])}"
    files = request.files.getlist("file")
    if not files:
        issues["file"] = "expected one file or more, got none"
    if issues:
        raise ApiError(422, "the form does not fit", issues)
    fields = _parameters(form)
    resize = form.get("resize") == "true"
    rows: list[Array] = []
    for index, file in enumerate(files[: most + 1]):
        place = f"file[{index}]"
        row = row_of_file(file.read(), spec, place, resize=resize)
        if rows and row.shape != rows[0].shape:
            raise TensorIssues({place: f"expected shape {list(rows[0].shape)} as in the first, got {list(row.shape)}"})
        rows.append(row)
    fields["arrays"] = {spec.name: np.stack(rows)}
    return fields


def row_of_file(data: bytes, spec: TensorSpec, place: str, *, resize: bool = False) -> Array:
    """A file as one row for an input: a PNG or JPEG, or the .npy of the row. Raises TensorIssues."""
    if not data.startswith(NPY_MAGIC):
        return read_image_row(data, spec, place, resize=resize)
    row = from_npy(data, place)
    if not spec.fits(row.shape):
        raise TensorIssues({place: f"{spec.name} expected {spec}, got shape {list(row.shape)}"})
    try:
        return cast_array(row, spec.dtype)
    except ValueIssue as error:
        raise TensorIssues({place: f"{spec.name} expected {spec}: {error}"}) from None


def _sole(signature: Signature) -> Any:
    inputs = signature.inputs
    if len(inputs) > 1:
        names = ", ".join(spec.name for spec in inputs)
        raise ApiError(422, "a file is one input", {"body": f"the model takes {names}: send JSON"})
    return inputs[0]


def _parameters(given: MultiDict[str, str]) -> Fields:
    """`store`, `timeout_ms` and `outputs` (names with commas between) as strings give them."""
    fields: Fields = {}
    for name in given:
        value: Any = given[name]
        if name == "timeout_ms" and value.isascii() and value.isdigit() and len(value) < 10:
            value = int(value)
        elif name == "outputs":
            value = value.split(",")
        if name != "resize":
            fields[name] = value
    return check_fields(fields, rows=False)


def _no_parameters() -> None:
    if request.query_string:
        issues = dict.fromkeys(request.args, "not in the query string with a body of this type")
        raise ApiError(400, "the query is not understood", issues)


def check_fields(body: Any, *, rows: bool = True, most: int = MOST_ROWS) -> Fields:
    """The request's fields, each checked but for the rows themselves. Raises a 422."""
    if not isinstance(body, dict):
        raise ApiError(422, "the body is an object", {"body": f"expected an object, got {describe(body)}"})
    known = FIELDS if rows else PARAMETERS
    issues: dict[str, str] = {
        field: f"no such field; there are {', '.join(known)}" for field in body if field not in known
    }
    if rows and ("instances" in body) == ("inputs" in body):
        came = "both" if "inputs" in body else "neither"
        issues["instances"] = f"expected instances (rows) or inputs (ids of stored inputs), got {came}"
    fields = {name: body[name] for name in known if name in body}
    if "inputs" in fields:
        fields["inputs"] = _ids(fields["inputs"], issues)
    if isinstance(fields.get("instances"), (list, np.ndarray)) and len(fields["instances"]) > most:
        issues["instances"] = f"expected at most {most} rows, got {len(fields['instances'])}"
    if "meta" in fields:
        _check_meta(fields["meta"], issues)
    if fields.get("store", "all") not in STORES:
        issues["store"] = f"expected one of {', '.join(STORES)}, got {describe(fields['store'])}"
    if "timeout_ms" in fields:
        timeout = fields["timeout_ms"]
        if type(timeout) is not int or not 1 <= timeout <= MAX_TIMEOUT_MS:
            issues["timeout_ms"] = f"expected a whole number from 1 to {MAX_TIMEOUT_MS}, got {describe(timeout)}"
    outputs = fields.get("outputs")
    if "outputs" in fields and not (isinstance(outputs, list) and all(isinstance(name, str) for name in outputs)):
        issues["outputs"] = f"expected a list of output names, got {describe(outputs)}"
    if issues:
        raise ApiError(422, "the request does not fit", issues)
    return fields


def _ids(value: Any, issues: dict[str, str]) -> list[ObjectId]:
    if not isinstance(value, list) or not value or len(value) > MOST_ROWS:
        issues["inputs"] = f"expected a list of 1 to {MOST_ROWS} ids, got {describe(value)}"
        return []
    ids = []
    for index, item in enumerate(value):
        if isinstance(item, str) and ObjectId.is_valid(item):
            ids.append(ObjectId(item))
        else:
            issues[f"inputs[{index}]"] = f"expected the id of an input, got {describe(item)}"
    return ids


def _check_meta(meta: Any, issues: dict[str, str]) -> None:
    if meta is None:
        return
    if not isinstance(meta, list):
        issues["meta"] = f"expected a list with an object for each row, got {describe(meta)}"
        return
    for index, item in enumerate(meta):
        if item is not None and not isinstance(item, dict):
            issues[f"meta[{index}]"] = f"expected an object, got {describe(item)}"
        elif problem := free_form_problem(item):
            issues[f"meta[{index}]"] = problem
