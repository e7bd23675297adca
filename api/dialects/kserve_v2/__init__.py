"""KServe's v2 protocol, the Open Inference Protocol over REST, as Triton and its clients speak it: `/v2/...`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import g, request

from api.dialects.base import Dialect, in_a_sentence
from api.dialects.bodies import body, compressed, compressible
from api.dialects.kserve_v2 import described
from api.dialects.kserve_v2.described import LENGTH, TAG, infer_operation
from api.dialects.kserve_v2.inference_answer import written
from api.dialects.kserve_v2.inference_request import Asked, read_asked
from api.dialects.kserve_v2.information import blueprint
from api.dialects.predicting import call_it, classes_of, predict, version_or_alias, within_limits
from api.openapi.describe import describes
from api.plain import Plain, Reading
from api.predict_request import Fields
from api.resources.base import ALL, EDITORS, USERS
from api.responses import AlmanacResponse
from ml.service import Signature

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

IN_ENVIRON = "HTTP_" + LENGTH.upper().replace("-", "_")


@blueprint.post("/models/<name>/infer")
@describes(
    infer_operation("kserveInfer", "Predict with the version that `stable` names, else with the newest available")
)
def infer(name: str) -> AlmanacResponse:
    """Predict with the version that `stable` names, else with the newest available."""
    return _infer(name)


@blueprint.post("/models/<name>/versions/<version>/infer")
@describes(infer_operation("kserveInferWithVersion", "Predict with one version"))
def infer_with_version(name: str, version: str) -> AlmanacResponse:
    """Predict with one version, or with that which an alias names."""
    return _infer(name, version)


def _infer(name: str, version: str | None = None) -> AlmanacResponse:
    asked: Asked | None = None

    def read(signature: Signature) -> Fields:
        nonlocal asked
        asked = read_asked(body(), request.environ.get(IN_ENVIRON), signature)
        call_it(asked.id)
        return asked.fields()

    number, alias = version_or_alias(version)
    answer = predict(DIALECT, name, read, version=number, alias=alias)
    assert asked is not None
    made, headers = written(answer, asked, g.request_id, classes_of(answer) if asked.wants_classes else None)
    made, encoding = compressed(made, request.environ.get("HTTP_ACCEPT_ENCODING", ""))
    return AlmanacResponse(made, headers=[*headers, *encoding])


def _read_plain(environ: WSGIEnvironment, data: bytes, signature: Signature) -> Reading | None:
    asked = read_asked(data, environ.get(IN_ENVIRON), signature)
    if asked.wants_classes:
        return None
    return Reading(within_limits(asked.fields()), lambda answer, id_: written(answer, asked, id_, None), asked.id)


def _meaning(values: Mapping[str, Any]) -> dict[str, Any]:
    version, alias = version_or_alias(values.get("version"))
    return {"name": values["name"], "version": version, "alias": alias}


PLAIN = Plain(
    TAG,
    frozenset({f"{TAG}.infer", f"{TAG}.infer_with_version"}),
    "/infer",
    lambda environ: not compressible(environ.get("HTTP_ACCEPT_ENCODING", "")),
    _meaning,
    _read_plain,
)


_READS = (
    "server model model_version model_ready model_version_ready model_config model_version_config all_statistics "
    "model_statistics model_version_statistics"
).split()

DIALECT = Dialect(
    name=TAG,
    blueprint=blueprint,
    paths=re.compile(r"/v2(?=/|\Z)"),
    permissions={
        **{(f"{TAG}.{view}", "GET"): ALL for view in _READS},
        (f"{TAG}.repository_index", "POST"): ALL,
        (f"{TAG}.infer", "POST"): USERS,
        (f"{TAG}.infer_with_version", "POST"): USERS,
        (f"{TAG}.load_or_unload", "POST"): EDITORS,
    },
    public=frozenset({f"{TAG}.live", f"{TAG}.ready"}),
    # Triton has 400 for every kind of wrong request, and a model that is not ready is unavailable.
    statuses={409: 503, 412: 400, 415: 400, 422: 400},
    error=lambda error: {"error": in_a_sentence(error)},
    error_schema=described.ERROR,
    request_headers=described.REQUEST_HEADERS,
    answer_headers=described.ANSWER_HEADERS,
    plain=PLAIN,
    about="KServe's v2 protocol (Open Inference Protocol), as Triton and its clients speak it.",
)
