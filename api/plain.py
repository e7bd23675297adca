"""What there is to know of a protocol's predictions to answer the plain ones before Flask: see api/early.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from api.predict_request import Fields
from ml.service import Answer, Signature

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: A body and its headers, but for its length.
Written = tuple[bytes, list[tuple[str, str]]]


class Reading(NamedTuple):
    """A plain request that fits the model."""

    #: For ml.service.Prediction.
    fields: Fields
    #: Writes the answer; it is given the request's id.
    write: Callable[[Answer, str], Written]
    #: The id that the body gives the request, if it does; see `api.requests.named`.
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Plain:
    """How plain predictions of one protocol are told, read and answered. Nothing here knows of Flask's request."""

    #: Results' `protocol`.
    protocol: str
    endpoints: frozenset[str]
    #: How all of their paths end.
    ending: str
    #: Whether the headers say nothing that only the route heeds.
    fits: Callable[[WSGIEnvironment], bool]
    #: What the parts of a path mean: `version`, `alias`.
    meaning: Callable[[Mapping[str, Any]], dict[str, Any]]
    #: The request; with None, or anything that is raised, it is the route's, which reads it once more.
    read: Callable[[WSGIEnvironment, bytes, Signature], Reading | None]
