"""Pictures as tensors: each is exactly the pixels that it should be, or is refused with what came, at little cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ImageFile

from ml.signature import TensorSpec
from ml.tensors import TensorIssues, read_image, read_image_row
from tests.unit import pictures
from tests.unit.pictures import COLOUR, DEEP, GREY, chunk, saved

PALETTE = chunk(b"PLTE", bytes(range(1, 7)))
#: EXIF's numbers, and what turns the stored pixels upright.
UPRIGHT: dict[int, Any] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, 1),
}


def spec(*shape: int | None, dtype: str = "UINT8") -> TensorSpec:
    return TensorSpec("x", dtype, shape)


GOOD: dict[str, tuple[bytes, Any]] = {
    "grey": (saved(GREY), GREY),
    "colour": (saved(COLOUR), COLOUR),
    "16-bit greys": (saved(DEEP), DEEP),
    "interlaced": (pictures.interlaced(GREY), GREY),
    "1 bit": (pictures.raw(8, 1, b"\xa5", 1, 0), [[255, 0, 255, 0, 0, 255, 0, 255]]),
    "2 bits": (pictures.raw(4, 1, b"\x1b", 2, 0), [[0, 85, 170, 255]]),
    "a palette": (pictures.raw(2, 1, b"\0\1", 8, 3, PALETTE), [[[1, 2, 3], [4, 5, 6]]]),
    "a palette with transparency": (
        pictures.raw(2, 1, b"\0\1", 8, 3, PALETTE, chunk(b"tRNS", b"\7")),
        [[[1, 2, 3, 7], [4, 5, 6, 255]]],
    ),
    "greys with transparency": (pictures.raw(1, 2, b"\1\2\3\4", 8, 4), [[[1, 2]], [[3, 4]]]),
    "colours with transparency": (pictures.raw(1, 1, b"\1\2\3\4", 8, 6), [[[1, 2, 3, 4]]]),
    "an animation of one": (pictures.animated(1), np.zeros((4, 4, 3))),
    "more behind it": (saved(GREY) + b"PK\x03\x04" + saved(COLOUR), GREY),
    "a text": (pictures.raw(1, 1, b"\1\2\3", 8, 2, chunk(b"tEXt", b"a\0b")), [[[1, 2, 3]]]),
    "a profile that is none": (pictures.raw(1, 1, b"\1\2\3", 8, 2, chunk(b"gAMA", bytes(4))), [[[1, 2, 3]]]),
}


@pytest.mark.parametrize("name", GOOD)
def test_the_pixels_are_those_of_the_file(name: str) -> None:
    data, wanted = GOOD[name]
    came = read_image(data)
    assert came.dtype == (np.uint16 if name == "16-bit greys" else np.uint8)
    assert came.tolist() == np.asarray(wanted).tolist()


JPEG_PIXELS = np.full((8, 8, 3), (10, 200, 100), "u1")
JPEG = saved(JPEG_PIXELS, "JPEG", quality=100, subsampling=0)
NO_EXIF = pictures.segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")
JPEGS: dict[str, tuple[bytes, Any]] = {
    "colour": (JPEG, (10, 200, 100)),
    "progressive": (saved(JPEG_PIXELS, "JPEG", quality=100, progressive=True), (10, 200, 100)),
    "greys": (saved(np.full((8, 8), 77, "u1"), "JPEG", quality=100), 77),
    "CMYK as Adobe has it": (pictures.cmyk((10, 200, 100, 255)), (10, 200, 100)),
    "CMYK as it is": (pictures.cmyk((10, 200, 100, 0), None), (245, 55, 155)),
    "YCCK": (pictures.cmyk((100, 128, 128, 255), 2), (155, 155, 155)),
    "a thumbnail of 60 kB, and more of it": (
        pictures.with_segments(JPEG, *[pictures.segment(0xE1, b"Exif\0\0" + JPEG.ljust(60_000, b"x"))] * 40),
        (10, 200, 100),
    ),
    "comments of 600 kB": (pictures.with_segments(JPEG, *[pictures.segment(0xFE, bytes(60_000))] * 10), (10, 200, 100)),
    "EXIF that is none": (pictures.with_segments(JPEG, NO_EXIF), (10, 200, 100)),
    "a zip behind it": (JPEG + b"PK\x03\x04", (10, 200, 100)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # Pillow's, of EXIF that is none
@pytest.mark.parametrize("name", JPEGS)
def test_a_jpegs_pixels_are_its_colours(name: str) -> None:
    data, wanted = JPEGS[name]
    came = read_image(data)
    assert came.shape == ((8, 8) if name == "greys" else (8, 8, 3))
    assert np.abs(came.astype(int) - np.asarray(wanted)).max() <= 3


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("picture", [GREY, COLOUR, DEEP], ids=["grey", "colour", "deep"])
def test_pictures_are_turned_upright(orientation: int, picture: Any) -> None:
    wanted = UPRIGHT[orientation](picture)
    data = pictures.turned(orientation, "PNG", picture)
    assert np.array_equal(read_image(data), wanted)
    row = read_image_row(data, spec(*wanted.shape, dtype="UINT16"))
    assert np.array_equal(row, wanted)
    with pytest.raises(TensorIssues, match="pixels, got"):
        read_image_row(data, spec(wanted.shape[0] + 1, *wanted.shape[1:], dtype="UINT16"))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_so_are_jpegs(orientation: int) -> None:
    blocks = np.kron(COLOUR[:2, :3], np.ones((8, 8, 1), "u1"))
    came = read_image(pictures.turned(orientation, "JPEG", blocks))
    assert came.shape == UPRIGHT[orientation](blocks).shape
    assert np.abs(came.astype(int) - UPRIGHT[orientation](blocks)).max() <= 3


@pytest.mark.parametrize("orientation", [0, 9, 255, 65_535])
def test_an_orientation_that_is_none_is_left(orientation: int) -> None:
    assert np.array_equal(read_image(pictures.turned(orientation, "PNG", GREY)), GREY)


def test_what_the_model_takes_is_what_it_gets() -> None:
    """Channels as the model has them; values as the file has them, of 16 bits too."""
    grey, deep = saved(GREY), saved(DEEP)
    assert read_image_row(grey, spec(5, 6, 1)).shape == (5, 6, 1)
    assert np.array_equal(read_image_row(grey, spec(5, 6, 3))[:, :, 1], GREY)
    assert np.array_equal(read_image_row(grey, spec(5, 6, 4))[:, :, 3], np.full((5, 6), 255))
    assert np.array_equal(read_image_row(saved(COLOUR, mode="RGBA"), spec(5, 6, 3)), COLOUR)
    for dtype in ("UINT16", "INT32", "FP32", "FP64"):
        assert np.array_equal(read_image_row(deep, spec(5, 6, dtype=dtype)), DEEP)
        assert np.array_equal(read_image_row(grey, spec(5, 6, dtype=dtype)), GREY)
    three = read_image_row(deep, spec(5, 6, 4, dtype="UINT16"))
    assert np.array_equal(three[:, :, 2], DEEP)
    assert set(three[:, :, 3].reshape(-1).tolist()) == {65_535}
    with pytest.raises(TensorIssues, match="outside 0 to 255 for UINT8, in a picture of 16 bits a value"):
        read_image_row(deep, spec(5, 6))
    with pytest.raises(TensorIssues, match="outside -128 to 127 for INT8"):
        read_image_row(grey, spec(5, 6, dtype="INT8"))
    with pytest.raises(TensorIssues, match="an image cannot be x"):
        read_image_row(grey, spec(30))


def test_what_is_scaled_keeps_its_range() -> None:
    flat = np.full((9, 7), 40_000, "u2")
    assert np.array_equal(read_image_row(saved(flat), spec(4, 4, dtype="UINT16"), resize=True), np.full((4, 4), 40_000))
    came = read_image_row(saved(np.full((9, 7), 40, "u1")), spec(4, 4, 3), resize=True)
    assert np.array_equal(came, np.full((4, 4, 3), 40))
    assert read_image_row(saved(GREY), spec(None, 3), resize=True).shape == (5, 3)
    assert read_image_row(saved(GREY), spec(None, None)).shape == (5, 6)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "got an empty file"),
    "a GIF": (saved(GREY, "GIF"), "got a GIF"),
    "a WebP": (b"RIFF\x24\0\0\0WEBPVP8 " + bytes(20), "got a WebP"),
    "an AVIF": (b"\0\0\0\x20ftypavif" + bytes(20), "got a AVIF"),
    "a BMP": (saved(GREY, "BMP"), "got a BMP"),
    "a TIFF": (saved(GREY, "TIFF"), "got a TIFF"),
    "a PDF": (b"%PDF-1.7\n", "got a PDF"),
    "an SVG": (b"<svg/>", "got markup"),
    "an .npz": (b"PK\x03\x04" + bytes(20), "as .npz is: send one array"),
    "a pickle": (b"\x80\x04\x95" + bytes(20), "a pickle, which is never loaded"),
    "text": (b"hello", "got 5 bytes of something else"),
    "a GIF behind 8 bytes of PNG": (pictures.MAGIC + saved(GREY, "GIF"), "got a PNG that cannot be read"),
    "an animation": (pictures.animated(3), "got an animation of 3"),
    "an animation of four billion": (
        pictures.raw(1, 1, b"\1\2\3", 8, 2, chunk(b"acTL", b"\xff\xff\xff\xff\0\0\0\0")), "animation of 4294967295"
    ),
    "16-bit colours": (pictures.raw(1, 1, bytes(6), 16, 2), "8 bits a value, or greys of 16, got 16 with colours"),
    "16-bit greys with transparency": (pictures.raw(1, 1, bytes(4), 16, 4), "got 16 with transparency"),
    "16-bit colours with transparency": (pictures.raw(1, 1, bytes(8), 16, 6), "got 16 with transparency"),
    "colours that there are not": (pictures.raw(1, 1, bytes(3), 8, 5), "cannot be read"),
    "7 bits": (pictures.raw(1, 1, bytes(3), 7, 2), "cannot be read"),
    "no columns": (pictures.raw(0, 1, b"", 8, 2), "cannot be read"),
    "no rows": (pictures.png(pictures.header(1, 0), chunk(b"IDAT", b"")), "cannot be read"),
    "no pixels": (pictures.png(pictures.header(1, 1)), "it has no pixels"),
    "too few pixels": (pictures.raw(9, 9, b"\1\2\3", 8, 2), "cannot be read"),
    "a palette that is not there": (pictures.raw(1, 1, b"\0", 8, 3), "cannot be read"),
    "pixels that are not packed": (pictures.png(pictures.header(1, 1), chunk(b"IDAT", b"no zlib")), "cannot be read"),
    "pixels that end early": (
        pictures.png(pictures.header(9, 9), chunk(b"IDAT", pictures.packed(b"\0" * 28 * 8))), "end too early"
    ),
    "pixels of a filter that there is not": (
        pictures.png(pictures.header(1, 2), chunk(b"IDAT", pictures.packed(b"\0abc\5abc"))), "filtered"
    ),
    "no header": (pictures.png(chunk(b"IDAT", b"")), "it does not begin with its header"),
    "a header of another length": (pictures.png(chunk(b"IHDR", bytes(12))), "it does not begin with its header"),
    "70,000 parts": (pictures.raw(1, 1, b"\1\2\3", 8, 2, *[chunk(b"tEXt", b"a\0")] * 70_000), "more than 65536 parts"),
    "a part of two billion bytes": (saved(GREY)[:33] + b"\x7f\xff\xff\xffIDAT", "within the picture"),
    "a text of 50 MB": (pictures.text_bomb(b"zTXt", 50_000_000), "too large"),
    "a profile of 50 MB": (pictures.text_bomb(b"iCCP", 50_000_000), "too large"),
    "texts of 180 MB together": (pictures.text_bomb(b"zTXt", 900_000, 200), "Too much memory"),
    "50 million pixels and more": (pictures.bomb(7100, 7100), "expected at most 50000000 pixels, got 7100x7100"),
    "2 billion columns": (pictures.bomb(2**31 - 1, 1), "expected at most 50000000 pixels"),
    "300 scans of 16 million pixels": (pictures.many_scans(4000, 4000, 300), "scans over 16000000 pixels"),
    "a JPEG without pixels": (JPEG[:4] + JPEG[-2:], "a JPEG that cannot be read"),
    **{f"a PNG of {at} bytes": (saved(COLOUR)[:at], "within the picture") for at in (8, 11, 20, 33, 45, 60, -13, -1)},
    **{f"a JPEG of {at} bytes": (JPEG[:at], "a JPEG that cannot be read") for at in (3, 20, 200, 400)},
    **{f"a PNG with another bit at {at}": (flipped(saved(COLOUR), at), "checksum") for at in (17, 30, 50, -2)},
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_none_is_refused_with_what_came(name: str) -> None:
    data, said = BAD[name]
    for read in (
        lambda: read_image(data, most_bytes=8 << 20),
        lambda: read_image_row(data, spec(1, 1, 3), resize=True),
    ):
        with pytest.raises(TensorIssues) as caught:
            read()
        assert said in caught.value.issues["file"]
        assert len(caught.value.issues["file"]) < 400
        assert " at 0x" not in caught.value.issues["file"], "an address in memory says nothing to anybody"


def test_half_a_jpeg_is_no_picture_whose_rest_is_grey() -> None:
    whole = saved(np.random.default_rng(1).integers(0, 256, (64, 64, 3), "u1"), "JPEG")
    for part in range(20, len(whole) - 2, 97):
        with pytest.raises(TensorIssues):
            read_image(whole[:part])


MEMORY = """
import resource, sys
import numpy as np
from ml.signature import TensorSpec
from ml.tensors import TensorIssues, from_npy, read_image, read_image_row
from tests.unit import pictures
from tests.unit.test_tensors_images import BAD
large, row = pictures.bomb(5000, 5000), TensorSpec("x", "UINT8", (64, 64, 3))
grown = {}
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
def measure(name, *reads):
    before = peak()
    for read in reads:
        try:
            read()
        except TensorIssues:
            pass
    print(name, peak() - before)
measure("refused", *(lambda d=d: read_image(d, most_bytes=8 << 20) for d, _ in BAD.values()),
        *(lambda d=d: read_image_row(d, row, resize=True) for d, _ in BAD.values()),
        lambda: read_image(large, most_bytes=8 << 20), lambda: read_image_row(large, row))
strings = pictures.npy_header("|S2", 16_000_000) + b"ab" * 16_000_000
measure("strings", lambda: from_npy(strings))
measure("scaled", lambda: read_image_row(large, row, resize=True))
"""


def test_what_is_refused_costs_no_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    grown = {name: int(megabytes) for name, megabytes in map(str.split, done.stdout.splitlines())}
    # The texts of a PNG may take 64 MB; 25 million pixels take 100.
    assert grown["refused"] < 150
    assert grown["strings"] < 50
    assert grown["scaled"] < 300


def test_large_ones_are_decoded_two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from ml.tensors import images

    seen = []
    real = ImageFile.ImageFile.load

    def load(self: Any) -> Any:
        seen.append(images._large._value)
        return real(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    monkeypatch.setattr(images, "LARGE_PIXELS", 20)
    read_image(saved(GREY))
    assert set(seen) == {1}
    read_image(saved(GREY[:2, :2]))
    assert seen[-1] == 2
    assert images._large._value == 2
