"""The OpenAPI 3.1 document, made from the application itself: its resources, its routes and its models.

Imports are late: routes and resources describe themselves in words of this package.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask


def document(app: Flask, model: str | None = None) -> dict[str, Any]:
    """The document of an app, as JSON can hold it.

    With `model`, predict is described exactly as that model's default version has it: then it needs an application
    context, and raises UnknownModel, ModelNotAvailable or StorageUnavailable.
    """
    from api.openapi.assembly import assemble
    from api.openapi.signatures import describe_model, facts_of

    made = assemble(app)
    if model is not None:
        describe_model(made, facts_of(app.extensions["service"], model))
    return made


def facts(app: Flask, model: str) -> Hashable:
    """All of a model that its document tells: where it is the same, so is the document. Raises as `document`."""
    from api.openapi.signatures import facts_of

    return facts_of(app.extensions["service"], model)


def undescribed(app: Flask) -> list[str]:
    """What of an app is not described, each with what to do about it."""
    from api.openapi.assembly import undescribed as found

    return found(app)
