"""Tensors as pictures: which shapes are pictures, and the PNG of one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

#: Sides of what may be a picture.
SMALLEST, LARGEST = 4, 1024
#: A narrow strip is a series of a few values at each step, rather than a picture: so many at most, and so much longer.
NARROW, LONGER = 8, 4
#: Small pictures are enlarged to about so many pixels.
WANTED = 256
#: What the values of pictures go up to, as programs have them; a picture is taken for the first that holds it.
RANGES = ((0.0, 1.0), (0.0, 16.0), (0.0, 255.0), (-1.0, 1.0), (0.0, 65535.0))
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def is_picture(shape: Sequence[int | None]) -> bool:
    """Whether a tensor of this shape is shown as a picture: rows, columns and 1, 3, 4 or no channels."""
    if len(shape) == 3 and shape[2] not in MODES:
        return False
    if len(shape) not in (2, 3):
        return False
    if any(side is None or not SMALLEST <= side <= LARGEST for side in shape[:2]):
        return False
    low, high = sorted((shape[0] or 0, shape[1] or 0))
    return len(shape) == 3 or not (low <= NARROW and high >= LONGER * low)


def enlargement(shape: Sequence[int]) -> int:
    """How many pixels a side each value becomes."""
    return max(1, WANTED // max(shape[:2]))


def value_range(array: np.ndarray[Any, Any]) -> tuple[float, float]:
    """What is black and what is white: guessed by the values, as far as they are finite."""
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if not finite.size:
        return RANGES[0]
    low, high = float(finite.min()), float(finite.max())
    return next(((a, b) for a, b in RANGES if a <= low and high <= b), (low, high))


def png_of(array: np.ndarray[Any, Any]) -> bytes:
    """The PNG of a tensor for which `is_picture` holds, enlarged without smoothing where it is small."""
    values = array.reshape(*array.shape[:2], -1)
    low, high = value_range(values)
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = (values.astype("f8") - low) * (255.0 / (high - low or 1.0))
    pixels = np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255).round().astype(np.uint8)
    channels = pixels.shape[2]
    image: Image.Image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels, MODES[channels])
    by = enlargement(array.shape)
    if by > 1:
        image = image.resize((image.width * by, image.height * by), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=3)
    return stream.getvalue()
