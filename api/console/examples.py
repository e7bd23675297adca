"""A row to begin with in the form of predict: zeros in the shapes that the model takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flask import current_app

from api.console.forms import Form, pretty
from api.console.operations import Offer
from api.openapi.signatures import facts_of
from api.routes.predict import PREDICTIONS
from ml.errors import ServiceError
from ml.service import Signature, TensorSpec

#: A larger row is none that people type.
MOST_VALUES = 4096


def fill_example(offer: Offer, forms: Sequence[Form]) -> None:
    """Put a row that fits into forms that predict, where the model is there and its rows are small."""
    if offer.endpoint not in PREDICTIONS:
        return
    try:
        row = row_of_zeros(facts_of(current_app.extensions["service"], offer.path.split("/")[4]).signature)
    except ServiceError:
        return
    if row is None:
        return
    for form in forms:
        form.body = pretty({"instances": [row]}) if form.way == "json" else form.body
        for one in form.fields:
            if one.name == "instances" and not one.value:
                one.value = pretty([row])


def row_of_zeros(signature: Signature) -> Any:
    """A row; None where it would be too large."""
    values = {spec.name: _zeros(spec) for spec in signature.inputs}
    if any(value is None for value in values.values()):
        return None
    return next(iter(values.values())) if len(values) == 1 else values


def _zeros(spec: TensorSpec) -> Any:
    shape = [length or 1 for length in spec.shape]
    if math.prod(shape) > MOST_VALUES:
        return None
    value: Any = {"O": "", "b": False, "f": 0.0}.get(spec.numpy_dtype.kind, 0)
    for length in reversed(shape):
        value = [value] * length
    return value
