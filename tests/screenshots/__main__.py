"""Starts Almanac with the demo on a temporary directory, visits each page light, dark and narrow, and writes PNGs."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.end_to_end.almanac import ROOT, Almanac, free_port
from tests.end_to_end.browser import chromium
from tests.screenshots.pictures import PICTURES, Picture
from tests.screenshots.world import furnish

OUT = ROOT / "build" / "screenshots"
DOCS = ROOT / "docs" / "images"
#: Name, width and height of the window, and the reader's colours.
LOOKS = (("light", 1280, 860, "light"), ("dark", 1280, 860, "dark"), ("narrow", 390, 844, "light"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a directory to keep, so that the next run has its models")
    parser.add_argument("--only", help="names of pictures, with commas between")
    parser.add_argument("--docs", action="store_true", help="write those under docs/images too")
    given = parser.parse_args()
    wanted = [one for one in PICTURES if not given.only or one.name in given.only.split(",")]
    with chromium() as browser, _almanac(given.data) as almanac:
        OUT.mkdir(parents=True, exist_ok=True)
        for look, width, height, colours in LOOKS:
            viewport: Any = {"width": width, "height": height}
            context = browser.new_context(viewport=viewport, color_scheme=colours, base_url=almanac.url)  # type: ignore[arg-type]
            page = context.new_page()
            _log_in(page, almanac)
            for picture in wanted:
                _take(page, picture, look)
            context.close()
    if given.docs:
        DOCS.mkdir(exist_ok=True)
        for picture in wanted:
            if picture.docs:
                shutil.copy(OUT / f"{picture.name}-light.png", DOCS / f"{picture.name}.png")
    print(f"{len(wanted) * len(LOOKS)} pictures in {OUT.relative_to(ROOT)}")


def _log_in(page: Any, almanac: Almanac) -> None:
    page.goto("/login")
    page.fill("#key", (almanac.data / "admin.key").read_text().strip())
    page.click("text=Log in with the key")


def _take(page: Any, picture: Picture, look: str) -> None:
    page.goto(picture.path)
    for action in picture.actions:
        action(page)
    page.screenshot(path=OUT / f"{picture.name}-{look}.png", full_page=True)


@contextmanager
def _almanac(kept: Path | None) -> Iterator[Almanac]:
    """A server with the demo and what else pictures need."""
    with tempfile.TemporaryDirectory() as temporary:
        data = (kept or Path(temporary) / "data").resolve()
        new = not data.exists()
        if new:
            demo = [sys.executable, str(ROOT / "run.py"), "demo"]
            subprocess.run(demo, env={"ALMANAC_DATA_DIR": str(data), "PATH": ""}, check=True, cwd=ROOT)
        almanac = Almanac(data, free_port())
        try:
            almanac.wait_for("^Almanac serves at")
            if new:
                furnish(almanac)
            yield almanac
        finally:
            almanac.stop()


if __name__ == "__main__":
    main()
