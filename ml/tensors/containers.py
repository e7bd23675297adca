"""What the bytes of a file say of themselves, before a decoder sees them: what it is, and whether it is whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"

#: Other kinds of file, by their first bytes, as a message calls them.
_KINDS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"PK\x03\x04", "a zip archive, as .npz is: send one array of it as .npy"),
    (b"PK\x05\x06", "an empty zip archive, as .npz is: send one array of it as .npy"),
    (b"<", "markup, such as an SVG"),
    (b"\x80\x02", "a pickle, which is never loaded"),
    (b"\x80\x03", "a pickle, which is never loaded"),
    (b"\x80\x04", "a pickle, which is never loaded"),
    (b"\x80\x05", "a pickle, which is never loaded"),
    (b"\0\0\x01\0", "an icon"),
)
#: Chunks of a PNG: those of usual writers have thousands of bytes each.
MOST_CHUNKS = 65_536
#: What the scans of a progressive JPEG may cost: each goes over all pixels. Usual writers make ten.
FEW_SCANS = 16
MOST_SCANNED = 1_000_000_000
#: PNG's colour types.
GREY, COLOURS, PALETTE, GREY_ALPHA, COLOURS_ALPHA = 0, 2, 3, 4, 6
#: Values of a pixel, and the bits that each may have.
CHANNELS = {GREY: 1, COLOURS: 3, PALETTE: 1, GREY_ALPHA: 2, COLOURS_ALPHA: 4}
BITS = {
    GREY: (1, 2, 4, 8, 16),
    COLOURS: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    COLOURS_ALPHA: (8, 16),
}
#: The passes of an interlaced one: first row and column, and the steps to the next.
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
#: The last filter of a line that there is.
MOST_FILTER = 4
#: Bytes that are unpacked at once.
PIECE = 1 << 16


def kind_of(data: bytes) -> str:
    """What a file is that is neither PNG, JPEG nor .npy, for a message."""
    if not data:
        return "an empty file"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a WebP"
    if data[4:8] == b"ftyp":
        return f"a {'AVIF' if data[8:12] in (b'avif', b'avis') else 'HEIF or a film'}"
    return next((kind for magic, kind in _KINDS if data.startswith(magic)), f"{len(data)} bytes of something else")


@dataclass(frozen=True, slots=True)
class PngFacts:
    """What the header of a PNG says."""

    width: int
    height: int
    bits: int
    colour: int
    #: Pictures of an animation; 1 where it is none.
    frames: int
    interlaced: bool
    packed: tuple[memoryview, ...]


def png_facts(data: bytes) -> PngFacts:
    """What a PNG says of itself, when all of it is there and none of it was changed.

    The decoder does not look at checksums: a bit that fell over would be other pixels. Raises ValueError.
    """
    header, frames, packed, palette = b"", 1, [], False
    for number, (kind, body) in enumerate(_chunks(data)):
        if number == 0:
            if kind != b"IHDR" or len(body) != 13:
                raise ValueError("it does not begin with its header")
            header = bytes(body)
        elif kind == b"acTL" and len(body) == 8:
            frames = struct.unpack(">I", body[:4])[0]
        elif kind == b"IDAT":
            packed.append(body)
        palette = palette or kind == b"PLTE"
    if not packed:
        raise ValueError("it has no pixels")
    width, height, bits, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    if bits not in BITS.get(colour, ()) or (colour == PALETTE and not palette) or not width or not height:
        raise ValueError(f"its header says {width}x{height} pixels of {bits} bits, colours of kind {colour}")
    return PngFacts(width, height, bits, colour, frames, interlace == 1, tuple(packed))


def check_pixels(facts: PngFacts) -> None:
    """Raise ValueError where the packed pixels are not as many as the header says, or cannot be unpacked.

    The decoder makes black ones of those. To be called where the number of pixels was looked at.
    """
    # Little at a time: what is left of it is copied at each turn.
    parts = (part[at : at + PIECE] for part in facts.packed for at in range(0, len(part), PIECE))
    stream = zlib.decompressobj()
    waiting: bytes | memoryview = b""
    for rows, length in _lines(facts):
        left, at = rows * length, 0
        while left:
            if not waiting:
                waiting = next(parts, b"")
                if not waiting:
                    raise ValueError("its pixels end too early")
            try:
                piece = stream.decompress(waiting, min(left, PIECE))
            except zlib.error as error:
                raise ValueError(f"its pixels cannot be unpacked: {error}") from None
            waiting = stream.unconsumed_tail
            if max(piece[-at % length :: length], default=0) > MOST_FILTER:
                raise ValueError("its pixels are filtered in a way that there is not")
            left -= len(piece)
            at += len(piece)
            if stream.eof and left:
                raise ValueError("its pixels end too early")


def _lines(facts: PngFacts) -> Iterator[tuple[int, int]]:
    """How many lines of how many bytes, each with its filter, the pixels are."""
    depth = facts.bits * CHANNELS[facts.colour]
    passes = ADAM7 if facts.interlaced else ((0, 0, 1, 1),)
    for top, left, down, right in passes:
        columns, rows = -((left - facts.width) // right), -((top - facts.height) // down)
        if columns > 0 and rows > 0:
            yield rows, 1 + (columns * depth + 7) // 8


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Each chunk to the last; what stands behind that is none of the picture's."""
    view, at = memoryview(data), len(PNG_MAGIC)
    for _ in range(MOST_CHUNKS):
        head = data[at : at + 8]
        if len(head) < 8:
            raise ValueError(f"it ends after {len(data)} bytes, within the picture")
        length, kind = struct.unpack(">I4s", head)
        body, check = view[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if len(check) < 4:
            raise ValueError(f"it ends after {len(data)} bytes, within the picture")
        if zlib.crc32(body, zlib.crc32(kind)) != struct.unpack(">I", check)[0]:
            raise ValueError(f"its part {kind.decode('ascii', 'replace')!r} is damaged: the checksum is another")
        yield kind, body
        if kind == b"IEND":
            return
        at += 12 + length
    raise ValueError(f"it has more than {MOST_CHUNKS} parts")


def check_jpeg(data: bytes, pixels: int) -> None:
    """Raise ValueError for a JPEG of very many scans, of which a small file can have enough for minutes."""
    scans = data.count(b"\xff\xda")
    if scans > FEW_SCANS and scans * pixels > MOST_SCANNED:
        raise ValueError(f"it has {scans} scans over {pixels} pixels")
