"""Which version of which model a request means: by name, with an owner or without, by number, alias or digest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from api.auth.caller import current_caller
from api.auth.models import permit_model
from api.dialects.predicting import the_service, version_or_alias
from api.errors import ApiError
from ml.service import LiveModel, Load, Version

#: Names are unique here: whose a model is need not be said, and is not looked at where it is.
_REFERENCE = re.compile(r"(?:[^/:]+/)?(?P<name>[^/:]+)(?::(?P<which>[^/:]+))?")
DIGEST = re.compile(r"[0-9a-f]{64}")
_EXPECTED = "expected name, name:number, name:alias, any of them after owner/, or a version's digest"


@dataclass(frozen=True, slots=True)
class Reference:
    """What is meant, as `ml.service.Prediction` has it."""

    model: str
    version: int | None = None
    alias: str | None = None


def reference(text: str) -> Reference:
    """What a `version` means. Raises a 422 for what can mean nothing or several models, a 404 for no known digest."""
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise _issue(f"{_EXPECTED}, got {text[:100]!r}")
    name, which = found["name"], found["which"]
    if which is None and DIGEST.fullmatch(text):
        return _by_digest(text, None)
    if which is not None and DIGEST.fullmatch(which):
        return _by_digest(which, name)
    number, alias = version_or_alias(which)
    return Reference(name, number, alias)


def meant_by(reference: Reference) -> LiveModel | Load:
    """The model that answers, where the caller's key is for it. Raises ApiError, UnknownModel, ModelNotAvailable."""
    permit_model(current_caller(), reference.model)
    return the_service().registry.meant(reference.model, reference.version, reference.alias)


def with_digest(versions: Iterable[Version], digest: str) -> list[Version]:
    """Those of the versions that are of the file with this digest: available ones first, newer before older."""
    found = [version for version in versions if version.document.get("digest") == digest]
    return sorted(found, key=lambda version: (version.state == "available", version.number), reverse=True)


def _by_digest(digest: str, name: str | None) -> Reference:
    """The version that is meant by a digest alone, or by that of a model's."""
    found = with_digest(_versions(name), digest)
    if not found:
        raise ApiError(404, f"there is no version with the digest {digest}" + (f" of {name[:100]}" if name else ""))
    if len(names := sorted({version.name for version in found})) > 1:
        raise _issue(f"expected one model's digest, got that of {', '.join(names[:20])}: say name:number")
    return Reference(found[0].name, found[0].number)


def _versions(name: str | None) -> list[Version]:
    """The versions that are known of a model, or of all that the caller's key is for."""
    may = current_caller().may_use
    known = the_service().registry.known().versions
    return [
        version
        for other, versions in known.items()
        if other == (name or other) and may(other)
        for version in versions.values()
    ]


def _issue(reason: str) -> ApiError:
    return ApiError(422, "the prediction does not fit", {"version": reason})
