"""Predict: rows in, predictions out, each a stored document."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, g, request

from api.audit import entry_for
from api.auth.caller import current_caller
from api.errors import CODES, ApiError
from api.new_ids import current_claim
from api.openapi.describe import describes
from api.openapi.predicting import predict_operation
from api.predict_request import MOST_ROWS, MOST_ROWS_LATER, NPY, check_later, read_request
from api.preferences import preferences
from api.render import MIME, dumps
from api.resources import RESOURCES
from api.resources.base import AUTOMATIC
from api.responses import AlmanacResponse, json_answer
from ml.database.client import Document
from ml.errors import ServiceError
from ml.service import Answer, LiveModel, Load, Prediction, Service, count_request
from ml.tensors import to_npy

blueprint = Blueprint("predict", __name__, url_prefix="/api/v1/models")

#: The endpoints of this blueprint.
PREDICTIONS = ("predict.default", "predict.with_version", "predict.with_alias")


@blueprint.post("/<name>/predict")
@describes(
    predict_operation(
        "predict", "Predict", "With the version that `stable` names, else with the newest that is available."
    )
)
def default(name: str) -> AlmanacResponse:
    """Predict with the version that `stable` names, else with the newest available."""
    return _predict(name)


@blueprint.post("/<name>/versions/<int:version>/predict")
@describes(predict_operation("predictWithVersion", "Predict with one version"))
def with_version(name: str, version: int) -> AlmanacResponse:
    """Predict with one version."""
    return _predict(name, version=version)


@blueprint.post("/<name>/aliases/<alias>/predict")
@describes(predict_operation("predictWithAlias", "Predict with the version that an alias names"))
def with_alias(name: str, alias: str) -> AlmanacResponse:
    """Predict with the version that an alias names."""
    return _predict(name, alias=alias)


def _predict(name: str, version: int | None = None, alias: str | None = None) -> AlmanacResponse:
    try:
        return _answer(name, version, alias)
    except (ApiError, ServiceError) as error:
        code = error.code if isinstance(error, ApiError) else CODES[type(error)]
        meant: LiveModel | Load | None = g.get("meant")  # what is not known here is no label: clients make names up
        count_request(meant.version.key if meant else ("", ""), code)
        raise


def _answer(name: str, version: int | None, alias: str | None) -> AlmanacResponse:
    service: Service = current_app.extensions["service"]
    # Refused before anything is read: a thread that parses for a request which must wait is one less for others.
    service.admission.take()
    try:
        # Which model is looked at first: to be told of a wrong row does not help where there is no such model.
        meant = g.meant = service.registry.meant(name, version, alias)
        later = "respond-async" in preferences()
        fields = read_request(meant.signature, MOST_ROWS_LATER if later else MOST_ROWS)
        caller = current_caller()
        asked = Prediction(
            model=name,
            version=version,
            alias=alias,
            owner=caller.owner,
            scope=caller.scope("inputs"),
            request=g.request_id,
            claim=current_claim(),
            **fields,
        )
        if later:
            check_later(fields)
            return _accepted(service.predict_later(asked, meant, entry_for("create", "jobs", 202)), meant)
        answer = service.predict(asked, meant)
    finally:
        service.admission.give()
    count_request((answer.model, answer.version), 200)
    if _wants_npy():
        return AlmanacResponse(to_npy(next(iter(answer.outputs.values()))), mimetype=NPY)
    return AlmanacResponse(answer_body(answer), mimetype=MIME)


def _accepted(job: Document, meant: LiveModel | Load) -> AlmanacResponse:
    """The answer to a prediction that a job gives."""
    count_request(meant.version.key, 202)
    shown = {name: job[name] for name in (*RESOURCES["jobs"].schema, *AUTOMATIC) if name in job}
    headers = {
        "Location": f"/api/v1/jobs/{job['_id']}",
        "ETag": f'"{job["_etag"]}"',
        "Preference-Applied": "respond-async",
    }
    return json_answer({**shown, "_status": "OK"}, 202, headers)


def _wants_npy() -> bool:
    accept = request.environ.get("HTTP_ACCEPT", "")
    return NPY in accept and request.accept_mimetypes.best_match([MIME, NPY]) == NPY


def answer_body(answer: Answer) -> bytes:
    """The JSON that answers a prediction."""
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
    body = {"model": answer.model, "version": answer.version, "predictions": predictions, "timing": answer.timing}
    return dumps(body)


def _row(values: Any, row: int) -> Any:
    """One row's values: strings as text, numbers as numpy has them."""
    value = values[row]
    if values.dtype == object:
        return value.tolist() if hasattr(value, "tolist") else value
    return value
