"""Pictures for tests, made chunk by chunk: those that encoders write, and those that nobody should."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

MAGIC = b"\x89PNG\r\n\x1a\n"
#: Every pixel another: a picture that is turned the wrong way is another.
GREY = np.arange(30, dtype="u1").reshape(5, 6) * 8
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], 2)
DEEP = GREY.astype("u2") * 257 + 3


def saved(picture: Any, kind: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """An array, or Pillow's image, as a file."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture))
    stream = io.BytesIO()
    (image.convert(mode) if mode else image).save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, bits: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace))


def png(*chunks: bytes) -> bytes:
    return MAGIC + b"".join(chunks) + chunk(b"IEND")


def raw(width: int, height: int, pixels: bytes, bits: int = 8, colour: int = 2, *more: bytes) -> bytes:
    """A PNG of these bytes of pixels, without filters; `more` are chunks before them."""
    line = len(pixels) // height
    lines = b"".join(b"\0" + pixels[at * line : (at + 1) * line] for at in range(height))
    return png(header(width, height, bits, colour), *more, chunk(b"IDAT", zlib.compress(lines)))


def interlaced(pixels: Any) -> bytes:
    """A grey PNG by Adam7, which Pillow reads and does not write."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    lines = b"".join(
        b"\0" + line.tobytes()
        for top, left, down, right in passes
        for line in pixels[top::down, left::right]
        if line.size
    )
    height, width = pixels.shape
    return png(header(width, height, 8, 0, 1), chunk(b"IDAT", zlib.compress(lines)))


def bomb(width: int, height: int, *more: bytes) -> bytes:
    """A PNG whose header promises this; black pixels are packed a thousandfold."""
    lines = (b"\0" + bytes(width * 3)) * height if width * height < 30_000_000 else bytes(99)
    return png(header(width, height), *more, chunk(b"IDAT", zlib.compress(lines, 9)))


def text_bomb(kind: bytes, size: int, times: int = 1) -> bytes:
    """A PNG of one pixel whose text or profile is as large as this when it is unpacked."""
    packed = chunk(kind, b"name\0\0" + zlib.compress(bytes(size), 9))
    return raw(1, 1, b"\1\2\3", 8, 2, *([packed] * times))


def animated(frames: int = 3) -> bytes:
    """An APNG."""
    pictures = [Image.new("RGB", (4, 4), (number * 40, 0, 0)) for number in range(frames)]
    return saved(pictures[0], save_all=True, append_images=pictures[1:])


def turned(orientation: Any, kind: str = "JPEG", picture: Any = COLOUR) -> bytes:
    """A picture whose EXIF says how the camera was held."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    return saved(picture, kind, exif=exif, **options)


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """A JPEG with more at its beginning."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def cmyk(values: tuple[int, int, int, int], adobe: int | None = 0) -> bytes:
    """A JPEG of one colour, given as its four components are stored; with Adobe's mark (2: YCCK), or without."""
    # Pillow inverts what it writes, as Adobe does.
    stored = tuple(255 - value for value in values)
    jpeg = saved(Image.new("CMYK", (8, 8), stored), "JPEG", quality=100, subsampling=0)
    at = jpeg.index(b"\xff\xee")
    length = struct.unpack(">H", jpeg[at + 2 : at + 4])[0] + 2
    mark = b"" if adobe is None else segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes((adobe,)))
    return jpeg[:at] + mark + jpeg[at + length :]


def many_scans(width: int, height: int, times: int) -> bytes:
    """A progressive JPEG with its last scan repeated."""
    jpeg = saved(Image.new("L", (width, height)), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * times + jpeg[-2:]


def npy_header(descr: str, *shape: int) -> bytes:
    """The beginning of a .npy file that says this of itself."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def packed(data: bytes) -> bytes:
    return zlib.compress(data)
