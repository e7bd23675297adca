"""How far Keras's own answers move when the last digit of the input's numbers does.

Near a tie of large numbers a softmax turns roundings, which every executor makes in another order, into differences
that are far larger than elsewhere, and no fault of any executor's. One in some hundred plain networks has such a tie
among the rows that are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

#: How many times the input is moved, each of its numbers up or down by chance.
MOVES = 4
#: How many times as far as Keras's answer another one may be: a sum's roundings add to those of what it adds up.
TIMES = 8.0


def sway(answer: Callable[[dict[str, NDArray[Any]]], Arrays | None], inputs: Arrays, outputs: Arrays) -> Arrays:
    """By output that is a floating point number: how far an answer may be from Keras's `outputs`, (rows, 1).

    `answer` is Keras, or None for what it refuses; the outputs of rows that it refuses when they are moved do not sway.
    """
    random = np.random.default_rng(1)
    found = {name: np.zeros((len(values), 1)) for name, values in outputs.items() if values.dtype.kind == "f"}
    for _ in range(MOVES):
        moved = answer({name: _moved(values, random) for name, values in inputs.items()})
        if moved is None or any(moved[name].shape != outputs[name].shape for name in found):
            continue
        for name, most in found.items():
            apart = np.abs(moved[name].astype("f8") - outputs[name].astype("f8")).reshape(len(most), -1)
            np.maximum(most, np.where(np.isfinite(apart), apart, 0).max(axis=1, keepdims=True, initial=0), out=most)
    return {name: TIMES * most for name, most in found.items()}


def _moved(values: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    if values.dtype.kind != "f":
        return values
    towards = np.where(random.random(values.shape) < 0.5, -np.inf, np.inf).astype(values.dtype)
    return np.asarray(np.nextafter(values, towards))
