"""Nested lists flattened with the length of every list at every level checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ml.tensors.values import describe


class Ragged(ValueError):
    """A list has another length than the shape or its neighbours have; the message says where."""


def flatten(value: Any, shape: Sequence[int | None]) -> tuple[list[Any], tuple[int, ...]]:
    """The elements of a nested list in row-major order, and the shape with its free dimensions found.

    `shape` is what is wanted; None takes the length of the first list met there, which the others must share. Raises
    Ragged. Elements are not looked at, but that they are no lists.
    """
    found: list[int | None] = list(shape)
    flat: list[Any] = []
    _walk(value, found, 0, "", flat)
    return flat, tuple(1 if length is None else length for length in found)


def infer_shape(value: Any) -> tuple[int, ...]:
    """The shape that the first element at every level tells; `flatten` checks whether the others agree."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value or len(shape) > 32:
            break
        value = value[0]
    return tuple(shape)


def _walk(value: Any, shape: list[int | None], depth: int, at: str, flat: list[Any]) -> None:
    if depth == len(shape):
        if isinstance(value, (list, dict)):
            raise Ragged(f"{_at(at)}expected a single value, got {describe(value)}")
        flat.append(value)
        return
    if not isinstance(value, list):
        raise Ragged(f"{_at(at)}expected a list{_of(shape[depth])}, got {describe(value)}")
    want = shape[depth]
    if want is None:
        if not value:
            raise Ragged(f"{_at(at)}expected a list of one or more, got an empty list")
        shape[depth] = want = len(value)
    if len(value) != want:
        raise Ragged(f"{_at(at)}expected a list of {want}, got a list of {len(value)}")
    if depth + 1 == len(shape) and not {list, dict} & set(map(type, value)):
        flat.extend(value)  # the innermost list, all at once
        return
    for index, item in enumerate(value):
        _walk(item, shape, depth + 1, f"{at}[{index}]", flat)


def _of(length: int | None) -> str:
    return "" if length is None else f" of {length}"


def _at(place: str) -> str:
    return f"at {place} " if place else ""
