"""Images as tensors: PNG and JPEG, for inputs whose rows are pixels."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ml.signature import TensorSpec
from ml.tensors.issues import TensorIssues
from ml.tensors.values import Array, ValueIssue, cast_array

#: An image with more pixels is refused before it is decoded.
MAX_PIXELS = 50_000_000

EXPECTED = "expected a PNG, a JPEG or a .npy array"

#: Pillow's mode for a number of channels; no channel axis is one channel.
MODES = {None: "L", 1: "L", 3: "RGB", 4: "RGBA"}


def read_image(data: bytes, place: str = "file") -> Array:
    """The pixels of a PNG or JPEG: shape (rows, columns) or (rows, columns, channels).

    UINT8, or UINT16 from a PNG of 16-bit greys. Raises TensorIssues.
    """
    with _opened(data, place) as image:
        return _pixels(image, place)


def read_image_row(data: bytes, spec: TensorSpec, place: str = "file", *, resize: bool = False) -> Array:
    """The pixels of a PNG or JPEG as one row for an input: upright, in its channels, size and dtype.

    With `resize` an image of another size is scaled; without, it is refused. Values stay 0 to 255. Raises TensorIssues.
    """
    rank = len(spec.shape)
    channels = spec.shape[2] if rank == 3 else None
    if rank not in (2, 3) or channels not in MODES:
        raise TensorIssues({place: f"an image cannot be {spec.name}, which is {spec}"})
    with _opened(data, place) as opened:
        try:
            image: Image.Image = ImageOps.exif_transpose(opened).convert(MODES[channels])
            height, width = (want or have for want, have in zip(spec.shape, (image.height, image.width), strict=False))
            if (image.width, image.height) != (width, height):
                if not resize:
                    raise TensorIssues(
                        {
                            place: f"{spec.name} expected {width}x{height} pixels, got {image.width}x{image.height}; "
                            "resize=true scales"
                        }
                    )
                image = image.resize((width, height), Image.Resampling.BILINEAR)
            array = np.asarray(image)
        except (OSError, ValueError, SyntaxError) as error:
            if isinstance(error, TensorIssues):
                raise
            raise TensorIssues({place: f"{EXPECTED}: {error}"}) from None
    if rank == 3 and array.ndim == 2:
        array = array[:, :, None]
    try:
        return cast_array(array, spec.dtype)
    except ValueIssue as error:
        raise TensorIssues({place: f"{spec.name} expected {spec}: {error}"}) from None


def _opened(data: bytes, place: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TensorIssues({place: f"{EXPECTED}: {error}"}) from None
    if image.width * image.height > MAX_PIXELS:
        raise TensorIssues({place: f"expected at most {MAX_PIXELS} pixels, got {image.width}x{image.height}"})
    return image


def _pixels(image: Image.Image, place: str) -> Array:
    try:
        if image.mode in ("L", "RGB", "RGBA"):
            return np.asarray(image)
        if image.mode.startswith("I;16"):
            return np.asarray(image).astype("<u2")
        return np.asarray(image.convert("L" if image.mode in ("1", "LA") else "RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise TensorIssues({place: f"{EXPECTED}: {error}"}) from None
