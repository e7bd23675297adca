"""What v2 tells: health, the server, models, what was counted, the repository."""

from __future__ import annotations

from flask import Blueprint

from api.auth.caller import current_caller
from api.dialects.bodies import body
from api.dialects.kserve_v2 import described
from api.dialects.kserve_v2.described import TAG, read_operation
from api.dialects.kserve_v2.metadata import EXTENSIONS, config, index, metadata, statistics
from api.dialects.predicting import available, the_service, version_or_alias
from api.errors import ApiError
from api.openapi.describe import JSON, Answer, Body, Media, Operation, describes, no_operation
from api.render import loads
from api.responses import AlmanacResponse, json_answer
from api.version import VERSION
from ml.errors import ModelNotAvailable
from ml.service import Load, Version

blueprint = Blueprint(TAG, __name__, url_prefix="/v2")


_STARTING = Answer("Not yet, or not now.", {JSON: Media(described.HEALTH, {"no": {"live": True, "ready": False}})})


@blueprint.get("/health/live")
@describes(
    read_operation(
        "kserveLive", "Ask whether the process runs", described.LIVE, "It runs.", {"live": True}, never=(400, 503)
    )
)
def live() -> AlmanacResponse:
    """200 while the process runs."""
    return json_answer({"live": True})


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
    return json_answer({"live": True, "ready": fine}, 200 if fine else 400)


@blueprint.get("")
@describes(
    read_operation(
        "kserveServer", "Read what this server is", described.SERVER, "Its name and extensions.", described.A_SERVER
    )
)
def server() -> AlmanacResponse:
    """The server's metadata."""
    return json_answer({"name": "almanac", "version": VERSION, "extensions": EXTENSIONS})


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
    return json_answer(metadata(found, [number for number, other in versions.items() if other.state == "available"]))


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
    return json_answer({"name": name, "ready": fine}, 200 if fine else 400)


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
    return json_answer(config(available(name, *version_or_alias(version)), the_service().limits.max_batch))


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
    return json_answer({"model_stats": [statistics(version, counted.of(version.key, scope)) for version in versions]})


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
    return json_answer(index(_visible(), only_ready))


@blueprint.post("/repository/models/<name>/load")
@blueprint.post("/repository/models/<name>/unload")
@no_operation
def load_or_unload(name: str) -> AlmanacResponse:
    """Refused: which versions are loaded is Almanac's own affair."""
    raise ApiError(400, f"the model {name[:100]!r} is managed through /api/v1/models: it is loaded while it is there")
