"""The pictures: a name, a path, and what is done on the page before each is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.screenshots.strokes import draw_five

#: What is done with Playwright's page.
Action = Callable[[Any], None]


@dataclass(frozen=True)
class Picture:
    """One page. `docs`: its light picture is one of those under docs/images."""

    name: str
    path: str
    actions: list[Action] = field(default_factory=list)
    docs: bool = False


def predict_drawn(page: Any) -> None:
    draw_five(page)
    page.click("#predict")
    page.wait_for_selector("#stored")
    page.click("summary:has-text('curl')")


def predict_iris(page: Any) -> None:
    for place, value in enumerate(("5.9", "3.0", "4.2", "1.5")):
        page.get_by_label(f"measures[{place}]").fill(value)
    page.click("#predict")
    page.wait_for_selector("#stored, #answer [role=alert]")


def open_first(page: Any) -> None:
    page.click("tbody tr td a")
    page.wait_for_selector("h1")


def load_pictures(page: Any) -> None:
    page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
    page.wait_for_load_state("networkidle")


def count_matches(page: Any) -> None:
    page.wait_for_selector("#matches:has-text('match')")


LEAST = "/console/results?model=digits&version=1&marked=no&order=least"

PICTURES = [
    Picture("overview", "/", docs=True),
    Picture("models", "/console/models"),
    Picture("upload", "/console/models?name=garden"),
    Picture("model", "/console/models/digits", docs=True),
    Picture("model-failed", "/console/models/broken"),
    Picture("try", "/console/models/digits/try", [predict_drawn], docs=True),
    Picture("try-empty", "/console/models/digits/try"),
    Picture("try-table", "/console/models/irises/try", [predict_iris]),
    Picture("try-choose", "/console/try"),
    Picture("jobs", "/console/jobs?new=1&target=digits", [count_matches], docs=True),
    Picture("job", "/console/jobs", [open_first]),
    Picture("results", LEAST, [load_pictures]),
    Picture("result", LEAST, [open_first], docs=True),
    Picture("results-empty", "/console/results?label=nothing"),
    Picture("truth", "/console/models/digits/truth", docs=True),
    Picture("error", "/console/models/nothing"),
    Picture("api", "/api/v1/results"),
]
