"""A prediction as every dialect makes it: counted, admitted, recorded as the native routes do."""

from __future__ import annotations

from collections.abc import Callable

from flask import current_app, g, request

from api.auth.caller import current_caller
from api.dialects.base import Dialect
from api.errors import CODES, ApiError
from api.predict_request import MOST_ROWS, Fields
from api.requests import named
from ml.errors import ModelNotAvailable, ServiceError
from ml.service import Answer, LiveModel, Load, Prediction, Service, Signature, Version, count_request
from ml.tensors import TensorIssues

#: What a request gives for `ml.service.Prediction`: `arrays` (every input by name, first axis the rows) or `instances`,
#: and perhaps `outputs`, `timeout_ms`, `meta`, `store`.
Reader = Callable[[Signature], Fields]


def the_service() -> Service:
    """The service of this application."""
    service: Service = current_app.extensions["service"]
    return service


def available(name: str, version: int | None = None, alias: str | None = None) -> Version:
    """The version that is meant, which is available. Raises UnknownModel or ModelNotAvailable."""
    found = the_service().registry.find(name, version, alias)
    if found.state != "available":
        raise ModelNotAvailable(f"{found} is {found.state}")
    return found


def version_or_alias(text: str | None) -> tuple[int | None, str | None]:
    """What a part of a path names: a version's number where it is one, else an alias."""
    if text is None:
        return None, None
    return (int(text), None) if text.isascii() and text.isdigit() and len(text) < 19 else (None, text)


def call_it(given: str | None) -> None:
    """Let this request have the id that its body gives it, where that is a sane one and no header gives it another.

    The answer's `X-Request-ID`, the log line and the results' `request` then say it.
    """
    g.request_id = named(request.environ, given) or g.request_id


def predict(
    dialect: Dialect, name: str, read: Reader, *, version: int | None = None, alias: str | None = None
) -> Answer:
    """Predict with a version, with an alias, or else with `stable` or the newest; the results are the caller's.

    `read` gets the signature and gives the fields of the prediction; the body is read by it, so that nothing is read
    of a request for which there is no place. Raises ApiError and ServiceError, which are answered in the dialect.
    """
    service = the_service()
    meant: LiveModel | Load | None = None
    try:
        service.admission.take()
        try:
            meant = service.registry.meant(name, version, alias)
            fields = within_limits(read(meant.signature))
            asked = Prediction(
                model=name,
                version=version,
                alias=alias,
                owner=current_caller().owner,
                request=g.request_id,
                protocol=dialect.name,
                **fields,
            )
            answer = service.predict(asked, meant)
        except TensorIssues as error:
            raise ApiError(422, "the tensors do not fit the model", error.issues) from None
        finally:
            service.admission.give()
    except (ApiError, ServiceError) as error:
        code = error.code if isinstance(error, ApiError) else CODES[type(error)]
        # What is not known here is no label: clients make names up.
        count_request(meant.version.key if meant else ("", ""), dialect.status(code))
        raise
    count_request((answer.model, answer.version), 200)
    return answer


def classes_of(answer: Answer) -> list[str] | None:
    """The classes of the version that answered, where it has some."""
    classes: list[str] | None = the_service().registry.find(answer.model, answer.version).document.get("classes")
    return classes


def within_limits(fields: Fields) -> Fields:
    """The same fields, where they are not of more rows than a request may have. Raises ApiError."""
    given = fields.get("instances")
    if "arrays" in fields:
        given = next(iter(fields["arrays"].values()))
    if given is not None and len(given) > MOST_ROWS:
        raise ApiError(422, f"too many rows: expected at most {MOST_ROWS}, got {len(given)}")
    return fields
