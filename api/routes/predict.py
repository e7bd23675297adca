"""Predict: rows in, predictions out, each a stored document."""

from __future__ import annotations

from typing import Any

from bson import ObjectId
from flask import Blueprint, Response, current_app, g

from api.auth.caller import current_caller
from api.errors import ApiError
from api.render import dumps
from api.requests import json_body, lenient_body
from api.validation import free_form_problem
from ml.errors import Invalid
from ml.service import DEADLINE_MS, Answer, Prediction, Service
from ml.tensors.values import describe

blueprint = Blueprint("predict", __name__, url_prefix="/api/v1/models")

FIELDS = ("instances", "inputs", "meta", "store", "timeout_ms", "outputs")
STORES = ("all", "result", "none")
MAX_TIMEOUT_MS = 600_000
MOST_ROWS = 10_000


@blueprint.post("/<name>/predict")
def default(name: str) -> Response:
    """Predict with the version that `stable` names, else with the newest available."""
    return _predict(name)


@blueprint.post("/<name>/versions/<int:version>/predict")
def with_version(name: str, version: int) -> Response:
    """Predict with one version."""
    return _predict(name, version=version)


@blueprint.post("/<name>/aliases/<alias>/predict")
def with_alias(name: str, alias: str) -> Response:
    """Predict with the version that an alias names."""
    return _predict(name, alias=alias)


def _predict(name: str, version: int | None = None, alias: str | None = None) -> Response:
    service: Service = current_app.extensions["service"]
    # Which model is looked at first: to be told of a wrong row does not help where there is no such model.
    service.registry.resolve(name, version, alias)
    try:
        body = json_body()
    except ApiError as error:
        _name_the_row(service, error, name, version, alias)
        raise
    caller = current_caller()
    asked = Prediction(
        model=name,
        version=version,
        alias=alias,
        owner=caller.owner,
        scope=caller.scope("inputs"),
        request=g.request_id,
        **_fields(body),
    )
    answer = service.predict(asked)
    return Response(dumps(_body(answer)), mimetype="application/json")


def _fields(body: Any) -> dict[str, Any]:
    """The request's fields, each checked but for the rows themselves. Raises a 422."""
    if not isinstance(body, dict):
        raise ApiError(422, "the body is an object", {"body": f"expected an object, got {describe(body)}"})
    issues: dict[str, str] = {
        field: f"no such field; there are {', '.join(FIELDS)}" for field in body if field not in FIELDS
    }
    if ("instances" in body) == ("inputs" in body):
        came = "both" if "inputs" in body else "neither"
        issues["instances"] = f"expected instances (rows) or inputs (ids of stored inputs), got {came}"
    fields = {name: body[name] for name in FIELDS if name in body}
    if "inputs" in fields:
        fields["inputs"] = _ids(fields["inputs"], issues)
    if isinstance(fields.get("instances"), list) and len(fields["instances"]) > MOST_ROWS:
        issues["instances"] = f"expected at most {MOST_ROWS} rows, got {len(fields['instances'])}"
    _check_meta(fields.get("meta"), issues)
    if fields.get("store", "all") not in STORES:
        issues["store"] = f"expected one of {', '.join(STORES)}, got {describe(fields['store'])}"
    timeout = fields.get("timeout_ms", DEADLINE_MS)
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


def _name_the_row(service: Service, error: ApiError, name: str, version: int | None, alias: str | None) -> None:
    """Where a body is no JSON for a NaN or Infinity in a row, add which row and input that is."""
    body = lenient_body() if error.code == 422 else None
    if isinstance(body, dict) and "instances" in body:
        try:
            service.check(Prediction(model=name, version=version, alias=alias, instances=body["instances"]))
        except Invalid as invalid:
            error.issues.update(invalid.issues)


def _body(answer: Answer) -> dict[str, Any]:
    names = list(answer.outputs)
    predictions = []
    for row, label in enumerate(answer.labels):
        values = {name: _row(answer.outputs[name], row) for name in names}
        prediction: dict[str, Any] = {}
        if answer.results is not None:
            prediction["_id"] = answer.results[row]
        if answer.inputs is not None:
            prediction["input"] = answer.inputs[row]
        prediction["output"] = values[names[0]] if len(names) == 1 else values
        predictions.append(prediction | label)
    return {"model": answer.model, "version": answer.version, "predictions": predictions, "timing": answer.timing}


def _row(values: Any, row: int) -> Any:
    """One row's values: strings as text, numbers as numpy has them."""
    value = values[row]
    if values.dtype == object:
        return value.tolist() if hasattr(value, "tolist") else value
    return value
