"""KServe's v2 protocol, the Open Inference Protocol over REST, as Triton and its clients speak it: `/v2/...`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import Blueprint, g, request

from api.auth.caller import current_caller
from api.dialects.base import Dialect, in_a_sentence
from api.dialects.bodies import body, compressed, compressible
from api.dialects.kserve_v2 import described
from api.dialects.kserve_v2.described import LENGTH, TAG, infer_operation, read_operation
from api.dialects.kserve_v2.inference_answer import written
from api.dialects.kserve_v2.inference_request import Asked, read_asked
from api.dialects.kserve_v2.metadata import EXTENSIONS, config, index, metadata, statistics
from api.dialects.predicting import (
    available,
    call_it,
    classes_of,
    predict,
    the_service,
    version_or_alias,
    within_limits,
)
from api.errors import ApiError
from api.openapi.describe import JSON, Answer, Body, Media, Operation, describes, no_operation
from api.plain import Plain, Reading
from api.predict_request import Fields
from api.render import MIME, dumps, loads
from api.resources.base import ALL, EDITORS, USERS
from api.responses import AlmanacResponse
from api.version import VERSION
from ml.errors import ModelNotAvailable
from ml.service import Load, Signature, Version

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

blueprint = Blueprint(TAG, __name__, url_prefix="/v2")

IN_ENVIRON = "HTTP_" + LENGTH.upper().replace("-", "_")


def _json(value: Any, status: int = 200) -> AlmanacResponse:
    return AlmanacResponse(dumps(value), status, mimetype=MIME)


_STARTING = Answer("Not yet, or not now.", {JSON: Media(described.HEALTH, {"no": {"live": True, "ready": False}})})


@blueprint.get("/health/live")
@describes(
    read_operation(
        "kserveLive", "Ask whether the process runs", described.LIVE, "It runs.", {"live": True}, never=(400, 503)
    )
)
def live() -> AlmanacResponse:
    """200 while the process runs."""
    return _json({"live": True})


@blueprint.get("/health/ready")
@describes(
    read_operation(
        "kserveReady",
        "Ask whether it can be sent requests",
        described.HEALTH,
        "As `/health/ready`.",
        {"live": True, "ready": True},
        answers={400: _STARTING},
        never=(503,),
    )
)
def ready() -> AlmanacResponse:
    """200 when `/health/ready` is, else 400, as Triton has it."""
    service = the_service()
    fine = service.liveness.problem() is None and not service.registry.reasons_not_ready()
    return _json({"live": True, "ready": fine}, 200 if fine else 400)


@blueprint.get("")
@describes(
    read_operation(
        "kserveServer", "Read what this server is", described.SERVER, "Its name and extensions.", described.A_SERVER
    )
)
def server() -> AlmanacResponse:
    """The server's metadata."""
    return _json({"name": "almanac", "version": VERSION, "extensions": EXTENSIONS})


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


_MODEL = (described.METADATA, "Its versions, inputs and outputs.", described.A_MODEL)


@blueprint.get("/models/<name>")
@describes(read_operation("kserveModel", "Read a model's metadata", *_MODEL))
def model(name: str) -> AlmanacResponse:
    """A model's metadata."""
    return _metadata(name)


@blueprint.get("/models/<name>/versions/<version>")
@describes(read_operation("kserveVersion", "Read a version's metadata", *_MODEL))
def model_version(name: str, version: str) -> AlmanacResponse:
    """A version's metadata."""
    return _metadata(name, version)


def _metadata(name: str, version: str | None = None) -> AlmanacResponse:
    found = available(name, *version_or_alias(version))
    versions = the_service().registry.known().versions.get(name, {})
    return _json(metadata(found, [number for number, other in versions.items() if other.state == "available"]))


_IS_READY = (described.READY, "It can be asked.", {"name": "iris", "ready": True})
_IS_NOT_READY = {400: Answer("It cannot.", {JSON: Media(described.READY, {"no": {"name": "iris", "ready": False}})})}


@blueprint.get("/models/<name>/ready")
@describes(read_operation("kserveModelReady", "Ask whether a model can be asked", *_IS_READY, answers=_IS_NOT_READY))
def model_ready(name: str) -> AlmanacResponse:
    """200 where a prediction with it would not be refused, else 400."""
    return _is_ready(name)


@blueprint.get("/models/<name>/versions/<version>/ready")
@describes(
    read_operation("kserveVersionReady", "Ask whether a version can be asked", *_IS_READY, answers=_IS_NOT_READY)
)
def model_version_ready(name: str, version: str) -> AlmanacResponse:
    """200 where a prediction with it would not be refused, else 400."""
    return _is_ready(name, version)


def _is_ready(name: str, version: str | None = None) -> AlmanacResponse:
    try:
        meant = the_service().registry.meant(name, *version_or_alias(version))
        fine = not isinstance(meant, Load) or meant.error is None  # a request would wait while it is being loaded
    except ModelNotAvailable:
        fine = False
    return _json({"name": name, "ready": fine}, 200 if fine else 400)


_CONFIG = (described.CONFIG, "As far as Triton's fields have a meaning here.", described.A_CONFIG)


@blueprint.get("/models/<name>/config")
@describes(read_operation("kserveConfig", "Read a model's configuration", *_CONFIG))
def model_config(name: str) -> AlmanacResponse:
    """A model's configuration, as Triton would have it."""
    return _config(name)


@blueprint.get("/models/<name>/versions/<version>/config")
@describes(read_operation("kserveVersionConfig", "Read a version's configuration", *_CONFIG))
def model_version_config(name: str, version: str) -> AlmanacResponse:
    """A version's configuration, as Triton would have it."""
    return _config(name, version)


def _config(name: str, version: str | None = None) -> AlmanacResponse:
    return _json(config(available(name, *version_or_alias(version)), the_service().limits.max_batch))


_COUNTED = (described.STATISTICS, "Added up from the results that the caller may see.", described.SOME_STATISTICS)


@blueprint.get("/models/stats")
@describes(read_operation("kserveStatistics", "Read the statistics of all models", *_COUNTED))
def all_statistics() -> AlmanacResponse:
    """What was counted of every version that is available."""
    return _statistics([version for version in _visible() if version.state == "available"])


@blueprint.get("/models/<name>/stats")
@describes(read_operation("kserveModelStatistics", "Read the statistics of a model's versions", *_COUNTED))
def model_statistics(name: str) -> AlmanacResponse:
    """What was counted of a model's available versions."""
    available(name)
    return _statistics([version for version in _visible() if version.name == name and version.state == "available"])


@blueprint.get("/models/<name>/versions/<version>/stats")
@describes(read_operation("kserveVersionStatistics", "Read the statistics of a version", *_COUNTED))
def model_version_statistics(name: str, version: str) -> AlmanacResponse:
    """What was counted of a version, in whatever state it is."""
    return _statistics([the_service().registry.find(name, *version_or_alias(version))])


def _statistics(versions: list[Version]) -> AlmanacResponse:
    scope = current_caller().scope("results")
    counted = the_service().statistics
    return _json({"model_stats": [statistics(version, counted.of(version.key, scope)) for version in versions]})


def _visible() -> list[Version]:
    """All versions of the models that the caller's key is for, in order."""
    may, known = current_caller().may_use, the_service().registry.known().versions
    return [versions[number] for name, versions in sorted(known.items()) if may(name) for number in sorted(versions)]


@blueprint.post("/repository/index")
@describes(
    Operation(
        id="kserveIndex",
        tag=TAG,
        summary="List the models",
        body=Body({JSON: Media(described.INDEX_REQUEST, {"ready": {"ready": True}})}, required=False),
        answers={
            200: Answer(
                "Every version that is not retired.", {JSON: Media(described.INDEX, {"some": described.AN_INDEX})}
            )
        },
    )
)
def repository_index() -> AlmanacResponse:
    """The versions of all models, or with `ready` of those that are."""
    data = body()
    try:
        asked = loads(data) if data.strip() else {}
    except ValueError as error:
        raise ApiError(422, f"the body is not JSON: {error}") from None
    only_ready = asked.get("ready", False) if isinstance(asked, dict) else None
    if not isinstance(only_ready, bool):
        raise ApiError(422, "expected an object with ready, which is true or false")
    return _json(index(_visible(), only_ready))


@blueprint.post("/repository/models/<name>/load")
@blueprint.post("/repository/models/<name>/unload")
@no_operation
def load_or_unload(name: str) -> AlmanacResponse:
    """Refused: which versions are loaded is Almanac's own affair."""
    raise ApiError(400, f"the model {name[:100]!r} is managed through /api/v1/models: it is loaded while it is there")


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
