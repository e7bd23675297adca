"""Which models a key is for."""

from __future__ import annotations

from api.errors import ApiError
from ml.identity.caller import Caller


def permit_model(caller: Caller, model: str) -> None:
    """Raise a 403 where the caller's key is not for this model."""
    if not caller.may_use(model):
        raise ApiError(403, f"this key is not for the model {model!r}")
