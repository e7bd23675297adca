"""The routes of TensorFlow Serving: predict, classify, regress, status, metadata; of a model or one of its versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flask import Blueprint, request

from api.dialects import predicting
from api.dialects.base import Dialect, in_a_sentence
from api.dialects.bodies import body
from api.dialects.tensorflow_serving import description, examples, models, tensors
from api.dialects.tensorflow_serving.bodies import invalid
from api.dialects.tensorflow_serving.paths import PREFIX, prepare
from api.errors import ApiError
from api.openapi.describe import describes
from api.plain import Plain, Reading
from api.predict_request import Fields
from api.render import MIME, dumps
from api.requests import JSON
from api.resources.base import ALL, USERS, Roles
from api.responses import AlmanacResponse
from ml.errors import ModelNotAvailable, UnknownModel
from ml.service import Answer, Signature

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

NAME = "tensorflow_serving"
blueprint = Blueprint(NAME, __name__, url_prefix=PREFIX)
blueprint.record_once(prepare)

#: What of a model is meant: the end of an endpoint to a part of a rule.
PLACES = {
    "": "/<part:name>",
    "_version": "/<part:name>/versions/<int:version>",
    "_label": "/<part:name>/labels/<part:alias>",
}
PERMISSIONS: dict[tuple[str, str], Roles] = {}

MOST_VERSION = 2**63 - 1
#: Of an answer.
HEADERS = [("Content-Type", MIME)]

View = Callable[..., AlmanacResponse]


def _predict(name: str, version: int | None = None, alias: str | None = None) -> bytes:
    form: tensors.Form = "instances"

    def read(signature: Signature) -> Fields:
        nonlocal form
        batch = tensors.read_batch(_body(), signature)
        form = batch.form
        return {"arrays": batch.arrays}

    answer = _asked(read, name, version, alias)
    return tensors.predict_body(answer.outputs, form)


def _classify(name: str, version: int | None = None, alias: str | None = None) -> bytes:
    def read(signature: Signature) -> Fields:
        found = predicting.the_service().registry.find(name, version, alias)
        examples.check_scores(signature, found.document.get("classes"))
        return {"arrays": examples.read_examples(_body(), signature, "classify")}

    answer = _asked(read, name, version, alias)
    return examples.classify_body(next(iter(answer.outputs.values())), predicting.classes_of(answer) or [])


def _regress(name: str, version: int | None = None, alias: str | None = None) -> bytes:
    def read(signature: Signature) -> Fields:
        examples.check_value(signature)
        return {"arrays": examples.read_examples(_body(), signature, "regress")}

    answer = _asked(read, name, version, alias)
    return examples.regress_body(next(iter(answer.outputs.values())))


def _status(name: str, version: int | None = None, alias: str | None = None) -> bytes:
    with _not_found(name, version, alias):
        registry = predicting.the_service().registry
        if alias is not None:
            version = registry.find(name, None, alias).number
        known = registry.known().versions.get(name, {})
    meant = [found.document for number, found in known.items() if version in (None, number)]
    if not meant:
        what = "any versions" if version is None else f"version {version}"
        raise ApiError(404, f"Could not find {what} of model {name[:200]}")
    return dumps(models.status_of(meant))


def _metadata(name: str, version: int | None = None, alias: str | None = None) -> bytes:
    with _not_found(name, version, alias):
        found = predicting.available(name, version, alias)
    return dumps(models.metadata_of(found.name, found.number, Signature.from_document(found.document)))


def _asked(read: Callable[[Signature], Fields], name: str, version: int | None, alias: str | None) -> Answer:
    with _not_found(name, version, alias):
        return predicting.predict(DIALECT, name, read, version=version, alias=alias)


def _body() -> bytes:
    """The body, of whatever type: `curl -d` says that it is a form, and others say nothing."""
    if _of_a_page(request.environ):
        raise ApiError(415, f"expected Content-Type {JSON} of a page, got {request.mimetype[:100] or 'none'}")
    return body()


@contextmanager
def _not_found(name: str, version: int | None, alias: str | None) -> Iterator[None]:
    """Say in TensorFlow Serving's words what there is not."""
    if version is not None and version > MOST_VERSION:
        raise invalid(f"Failed to convert version: {str(version)[:100]} to numeric.")
    try:
        yield
    except UnknownModel:
        if alias is not None:
            raise invalid(f"Unrecognized servable version label: {alias[:200]}") from None
        raise ApiError(404, _wanted(name, version)) from None
    except ModelNotAvailable as error:
        raise ApiError(404, f"{_wanted(name, version)}: {error}") from None


def _wanted(name: str, version: int | None) -> str:
    which = f"Latest({name[:200]})" if version is None else f"Specific({name[:200]}, {version})"
    return f"Servable not found for request: {which}"


def _of_a_page(environ: WSGIEnvironment) -> bool:
    """Whether a page sends this, and does not call it JSON: that another site's may, without being asked for it."""
    kind: str = environ.get("CONTENT_TYPE", "")
    return "HTTP_ORIGIN" in environ and kind.partition(";")[0].strip().lower() != JSON


def _read_plain(_: WSGIEnvironment, data: bytes, signature: Signature) -> Reading | None:
    batch = tensors.plain_batch(data, signature)
    if batch is None:
        return None
    fields = predicting.within_limits({"arrays": batch.arrays})
    return Reading(fields, lambda answer, _: (tensors.predict_body(answer.outputs, batch.form), HEADERS))


def _answered(made: Callable[..., bytes]) -> View:
    return lambda **values: AlmanacResponse(made(**values), mimetype=MIME)


def _add(method: str, what: str, end: str, made: Callable[..., bytes], roles: Roles) -> None:
    """A rule for each of `PLACES`."""
    for place, part in PLACES.items():
        endpoint = f"{what}{place}"
        view = describes(description.operation(NAME, what, place))(_answered(made))
        blueprint.add_url_rule(f"{part}{end}", endpoint, view, methods=[method])
        PERMISSIONS[f"{NAME}.{endpoint}", method] = roles


_add("POST", "predict", ":predict", _predict, USERS)
_add("POST", "classify", ":classify", _classify, USERS)
_add("POST", "regress", ":regress", _regress, USERS)
_add("GET", "status", "", _status, ALL)
_add("GET", "metadata", "/metadata", _metadata, ALL)

DIALECT = Dialect(
    name=NAME,
    blueprint=blueprint,
    paths=re.compile(rf"{PREFIX}(?=/|\Z)", re.IGNORECASE),
    permissions=PERMISSIONS,
    # A version that cannot be asked is not found there, and whatever is wrong with a request is an invalid argument.
    statuses={409: 404, 412: 400, 415: 400, 422: 400},
    error=lambda error: {"error": in_a_sentence(error)},
    error_schema=description.ERROR,
    plain=Plain(
        NAME,
        frozenset(f"{NAME}.predict{place}" for place in PLACES),
        ":predict",
        lambda environ: not _of_a_page(environ),
        dict,
        _read_plain,
    ),
    about="TensorFlow Serving's REST API.",
)
