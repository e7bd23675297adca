"""Images as tensors: PNG and JPEG, for inputs whose rows are pixels.

Values are as the file has them, 0 to 255 or, of 16 bits, 0 to 65535: nothing is scaled to another range.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, UnidentifiedImageError

from ml.signature import TensorSpec
from ml.tensors.containers import (
    COLOURS,
    GREY,
    JPEG_MAGIC,
    PNG_MAGIC,
    PngFacts,
    check_jpeg,
    check_pixels,
    kind_of,
    png_facts,
)
from ml.tensors.issues import TensorIssues
from ml.tensors.values import Array, ValueIssue, cast_array

#: An image with more pixels is refused before it is decoded.
MAX_PIXELS = 50_000_000
#: Above this, a few are decoded at the same time: each takes four bytes a pixel, some twice.
LARGE_PIXELS = 4_000_000
LARGE_AT_ONCE = 2

EXPECTED = "expected a PNG, a JPEG or a .npy array"

#: Pillow's mode for a number of channels; no channel axis is one channel.
MODES = {None: "L", 1: "L", 3: "RGB", 4: "RGBA"}
#: Pillow's modes as which pixels are stored where no model asks for others.
STORED = {"1": "L", "L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}

#: EXIF's tag, and how pixels are turned upright for each of its values.
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_large = threading.BoundedSemaphore(LARGE_AT_ONCE)


def read_image(data: bytes, place: str = "file", most_bytes: int | None = None) -> Array:
    """The pixels of a PNG or JPEG, upright: shape (rows, columns) or (rows, columns, channels).

    UINT8, or UINT16 from a PNG of 16-bit greys. One that would have more than `most_bytes` is refused before it is
    decoded. Raises TensorIssues.
    """
    with _read(data, place) as opened:
        image = opened.image
        deep = image.mode.startswith("I")
        mode = image.mode if deep else STORED.get(image.mode) or ("RGBA" if image.has_transparency_data else "RGB")
        size = image.width * image.height * (2 if deep else len(mode))
        if most_bytes is not None and size > most_bytes:
            raise TensorIssues(
                {place: f"expected at most {most_bytes} bytes a row, got {image.width}x{image.height} pixels: {size}"}
            )
        turned = _turned(opened)
        return _deep(turned) if deep else np.asarray(turned.convert(mode))


def read_image_row(data: bytes, spec: TensorSpec, place: str = "file", *, resize: bool = False) -> Array:
    """The pixels of a PNG or JPEG as one row for an input: upright, in its channels, size and dtype.

    With `resize` an image of another size is scaled; without, it is refused. Raises TensorIssues.
    """
    rank = len(spec.shape)
    channels = spec.shape[2] if rank == 3 else None
    if rank not in (2, 3) or channels not in MODES:
        raise TensorIssues({place: f"an image cannot be {spec.name}, which is {spec}"})
    with _read(data, place) as opened:
        image = opened.image
        if not resize:
            # Before it is decoded, which is what it takes to find out how it is to be turned.
            _check_fit((image.width, image.height), spec, place, either=True)
        turned = _turned(opened)
        if not resize:
            _check_fit(turned.size, spec, place)
        height, width = (want or have for want, have in zip(spec.shape, turned.size[::-1], strict=False))
        array = _row(turned, channels, (width, height))
    if rank == 3 and array.ndim == 2:
        array = array[:, :, None]
    try:
        return cast_array(array, spec.dtype)
    except ValueIssue as error:
        deep = ", in a picture of 16 bits a value, which is not scaled" if array.dtype == np.uint16 else ""
        raise TensorIssues({place: f"{spec.name} expected {spec}: {error}{deep}"}) from None


def _check_fit(size: tuple[int, int], spec: TensorSpec, place: str, *, either: bool = False) -> None:
    """Raise TensorIssues where (columns, rows) are not the input's; with `either` they may be the other way round."""
    wanted = spec.shape[1], spec.shape[0]
    for came in (size, size[::-1])[: 2 if either else 1]:
        if all(want in (None, have) for want, have in zip(wanted, came, strict=True)):
            return
    shown = "x".join("?" if want is None else str(want) for want in wanted)
    raise TensorIssues({place: f"{spec.name} expected {shown} pixels, got {size[0]}x{size[1]}; resize=true scales"})


def _row(image: Image.Image, channels: int | None, size: tuple[int, int]) -> Array:
    if not image.mode.startswith("I"):
        image = image.convert(MODES[channels])
        return np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR))
    greys: Array
    if image.size != size:
        scaled = image.convert("F").resize(size, Image.Resampling.BILINEAR)
        greys = np.rint(np.asarray(scaled)).astype(np.uint16)
    else:
        greys = _deep(image)
    if channels in (None, 1):
        return greys
    array = np.repeat(greys[:, :, None], channels, axis=2)
    if channels == len("RGBA"):
        array[:, :, 3] = np.iinfo(np.uint16).max
    return array


def _deep(image: Image.Image) -> Array:
    """Greys of 16 bits."""
    greys: Array = np.asarray(image).astype("<u2")
    return greys


class _Opened(NamedTuple):
    """An image that is not decoded yet, and what it says of itself where it is a PNG."""

    image: Image.Image
    facts: PngFacts | None


@contextmanager
def _read(data: bytes, place: str) -> Iterator[_Opened]:
    """The image, not decoded yet. Whatever a decoder raises, here or within, becomes TensorIssues."""
    kind = "PNG" if data.startswith(PNG_MAGIC) else "JPEG" if data.startswith(JPEG_MAGIC) else None
    if kind is None:
        raise TensorIssues({place: f"{EXPECTED}, got {kind_of(data)}"})
    try:
        facts = _checked(data, place) if kind == "PNG" else None
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            pixels = image.width * image.height
            if kind == "JPEG":
                _check_size(image.width, image.height, place)
                check_jpeg(data, pixels)
            if pixels <= LARGE_PIXELS:
                yield _Opened(image, facts)
            else:
                with _large:
                    yield _Opened(image, facts)
    except (TensorIssues, MemoryError):
        raise
    except UnidentifiedImageError:  # its message is an address in memory
        raise TensorIssues({place: f"{EXPECTED}, got a {kind} that cannot be read: its beginning is none"}) from None
    except Exception as error:  # noqa: BLE001  decoders raise whatever comes
        reason = str(error)[:200] or type(error).__name__
        raise TensorIssues({place: f"{EXPECTED}, got a {kind} that cannot be read: {reason}"}) from None


def _checked(data: bytes, place: str) -> PngFacts:
    facts = png_facts(data)
    _check_size(facts.width, facts.height, place)
    if facts.frames > 1:
        raise TensorIssues({place: f"{EXPECTED} of one picture, got an animation of {facts.frames}"})
    if facts.bits > 8 and facts.colour != GREY:
        what = "colours" if facts.colour == COLOURS else "transparency"
        raise TensorIssues(
            {place: f"expected 8 bits a value, or greys of 16, got {facts.bits} with {what}: send it as .npy"}
        )
    return facts


def _check_size(width: int, height: int, place: str) -> None:
    if width * height > MAX_PIXELS:
        raise TensorIssues({place: f"expected at most {MAX_PIXELS} pixels, got {width}x{height}"})


def _orientation(image: Image.Image) -> int:
    """How the camera was held, by EXIF's numbers; 1 where nobody says, or what is said cannot be read."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # noqa: BLE001  it is parsed by hand in Pillow, and cameras write anything
        return 1
    return found if found in UPRIGHT else 1


def _turned(opened: _Opened) -> Image.Image:
    """The pixels, decoded and upright."""
    image, facts = opened
    if facts is not None:
        check_pixels(facts)
    method = UPRIGHT.get(_orientation(image))
    image.load()
    if image.mode == "CMYK" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes all for Adobe's, which has them inverted
    return image if method is None else image.transpose(method)
