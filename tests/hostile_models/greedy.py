"""Models of Keras's own parts that want more than there is."""

from __future__ import annotations

from tests.hostile_models.making import file, layer


def a_layer_of_a_terabyte() -> bytes:
    return file(layer("Dense", "d", units=2**36))


def one_that_eats_memory() -> bytes:
    """A layer of 3.6 thousand million numbers, of which the file holds none: Keras makes them before it looks."""
    return file(*(layer("Dense", f"d{n}", units=60_000) for n in range(2)))


def one_that_repeats() -> bytes:
    """No weights at all, and an answer of 4 GB a row."""
    return file(layer("RepeatVector", "r", n=2**28))


def one_that_never_ends() -> bytes:
    """Layers enough to keep Keras busy for many minutes."""
    return file(*(layer("Dense", f"d{n}", units=4) for n in range(40_000)))
