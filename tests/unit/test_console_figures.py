"""What tensors look like on pages: pictures, series, bars and tables, by shape; and how they are drawn."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.console.figures import MOST_PARTS, WIDTH, bars_of, lines_of, matrix_of
from api.console.images import is_picture, png_of, value_range
from api.console.tensors import looks_of
from ml.tensors import to_stored


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((8, 8), "picture"),
        ((8, 8, 1), "picture"),
        ((4, 1024, 3), "picture"),
        ((224, 224, 4), "picture"),
        ((64, 32), "picture"),
        ((8, 8, 2), "long"),
        ((3, 3), "table"),
        ((1025, 1025), "long"),
        ((48, 3), "series"),
        ((400, 6), "series"),
        ((11,), "series"),
        ((10,), "table"),
        ((), "table"),
        ((2, 3, 4), "long"),
        ((16, 17, 2), "long"),
    ],
)
def test_a_shape_decides_how_a_tensor_is_shown(shape: tuple[int, ...], kind: str) -> None:
    assert looks_of("x", to_stored(np.zeros(shape, "f4"))).kind == kind


def test_other_types_and_what_is_no_tensor() -> None:
    assert looks_of("x", ["a <b>", "c"]).texts == ["a <b>", "c"]
    assert looks_of("x", {"dtype": "FP32", "shape": [2], "data": b"123"}).kind == "broken"
    assert looks_of("x", [[1], [1, 2]]).kind == "broken"
    assert looks_of("x", [True, False]).rows == [["true", "false"]]
    assert looks_of("x", [0.123456, 7.0]).rows == [["0.1235", "7"]]
    many = looks_of("x", ["t" * 5000] * 300)
    assert (len(many.texts), many.others, len(many.texts[0])) == (100, 200, 2000)


def test_classes_make_bars_of_an_output_as_wide_and_of_no_other() -> None:
    looks = looks_of("y", [0.1, 0.7, 0.2], ["a", "b", "c"], "b")
    assert [(bar.name, bar.value, bar.share, bar.chosen) for bar in looks.bars] == [
        ("b", "0.7", 70.0, True),
        ("c", "0.2", 20.0, False),
        ("a", "0.1", 10.0, False),
    ]
    assert looks_of("y", [0.1, 0.7], ["a", "b", "c"]).kind == "table"
    wide = bars_of(np.array([5.0, -3.0, np.nan, np.inf]), list("abcd"), None)
    assert [(bar.name, bar.share) for bar in wide] == [("d", 0.0), ("a", 100.0), ("b", 0.0), ("c", 0.0)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.4, 1.0], (0, 1)),
        ([0, 9, 16], (0, 16)),
        ([0, 17], (0, 255)),
        ([-0.2, 1.0], (-1, 1)),
        ([0, 60_000], (0, 65_535)),
        ([-7.0, 3.0], (-7, 3)),
        ([np.nan, np.inf], (0, 1)),
        ([np.nan, 12.0], (0, 16)),
    ],
)
def test_the_range_of_a_pictures_values_is_guessed(values: list[float], expected: tuple[float, float]) -> None:
    assert value_range(np.array(values)) == expected


def read(png: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_a_small_picture_is_enlarged_and_keeps_its_pixels() -> None:
    values = np.arange(64.0).reshape(8, 8, 1) / 4
    pixels = read(png_of(values))
    assert pixels.shape == (256, 256)
    assert (pixels[16::32, 16::32] == (values[:, :, 0] * 255 / 16).round()).all()
    coloured = read(png_of(np.random.default_rng(1).integers(0, 256, (300, 500, 3)).astype("u1")))
    assert coloured.shape == (300, 500, 3)
    assert read(png_of(np.array([[np.nan, 0, 1, 1]] * 4)))[0, ::64].tolist() == [0, 0, 255, 255]
    assert read(png_of(np.full((4, 4), -3.5)))[0, 0] == 0
    assert is_picture([None, 8]) is False


def test_a_long_line_keeps_its_peaks_and_a_gap_is_one() -> None:
    values = np.zeros(100_000)
    values[12_345] = 5.0
    (line,) = lines_of(values).lines
    points = line.pieces[0].split()
    assert len(points) <= 2 * MOST_PARTS
    assert any(point.endswith(",0.0") for point in points)
    (line,) = lines_of(np.array([1.0, 2.0, np.nan, 4.0])).lines
    assert line.pieces == ["0.0,200.0 333.3,133.3", f"{WIDTH:.1f},0.0"]
    assert len(lines_of(np.array([np.nan, np.nan])).lines[0].pieces) == 0
    assert [line.name for line in lines_of(np.zeros((12, 2))).lines] == ["[0]", "[1]"]


def test_a_matrix_fills_cells_by_their_share_of_the_truth() -> None:
    matrix = matrix_of({("a", "a"): 3, ("a", "b"): 1, ("b", "b"): 10}, ["a", "b"])
    cells = {(cell.truth, cell.label): cell for cell in matrix.cells}
    assert cells["b", "b"].opacity == max(cell.opacity for cell in matrix.cells) == 0.4
    assert 0 < cells["a", "b"].opacity < cells["a", "a"].opacity < 0.4
    assert (cells["b", "a"].opacity, cells["a", "b"].right, cells["a", "a"].right) == (0, False, True)
