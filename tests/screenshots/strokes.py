"""Digits drawn with a mouse, for pictures and tests: strokes in hundredths of the canvas."""

from __future__ import annotations

import math
from typing import Any

Point = tuple[float, float]


def arc(x: float, y: float, across: float, down: float, start: float, end: float, steps: int = 16) -> list[Point]:
    """Points of an ellipse, from one angle to another, in degrees clockwise from the right."""
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + across * math.cos(angle), y + down * math.sin(angle)) for angle in angles]


DIGITS: dict[str, list[list[Point]]] = {
    "0": [arc(50, 50, 20, 30, 0, 360, 32)],
    "1": [[(38, 32), (52, 18), (52, 82)]],
    "2": [[*arc(48, 36, 18, 18, 190, 380), (30, 80), (72, 80)]],
    "3": [[*arc(46, 34, 18, 15, 200, 450), *arc(46, 65, 20, 17, 270, 520)]],
    "4": [[(56, 18), (28, 60), (76, 60)], [(60, 38), (60, 84)]],
    "5": [[(68, 20), (36, 20), (34, 46), *arc(48, 62, 20, 19, 235, 500)]],
    "6": [[(62, 18), *arc(50, 62, 19, 20, 200, 560, 32)]],
    "7": [[(28, 20), (72, 20), (46, 82)]],
    "8": [arc(50, 34, 15, 15, 90, 450, 32), arc(50, 66, 18, 17, -90, 270, 32)],
    "9": [[*arc(48, 36, 17, 17, 0, 360, 32), (62, 82)]],
}


def draw(page: Any, digit: str) -> None:
    """Draw it on the page's canvas, after what was there was cleared."""
    page.click(".clear")
    box = page.locator("canvas.paper").bounding_box()
    for stroke in DIGITS[digit]:
        for index, (x, y) in enumerate(stroke):
            page.mouse.move(box["x"] + x * box["width"] / 100, box["y"] + y * box["height"] / 100)
            if index == 0:
                page.mouse.down()
        page.mouse.up()


def draw_five(page: Any) -> None:
    """A five, which most models know."""
    draw(page, "5")
