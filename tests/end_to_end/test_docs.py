"""The documentation is true: its examples run, its settings are those that there are, its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from settings import Settings
from tests.end_to_end.almanac import ROOT, Almanac

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ALL_PAGES = [
    *PAGES,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

BLOCK = re.compile(r"(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)


@dataclass
class Example:
    """A block that runs, and the JSON that the page shows as its answer, if it shows one."""

    language: str
    code: str
    answer: Any = None


def examples(page: Path) -> list[Example]:
    found: list[Example] = []
    for block in BLOCK.finditer(page.read_text()):
        language, mark = block["language"], block["mark"] or ""
        if language in ("sh", "python"):
            assert mark == "runs" or mark.startswith("not run here: "), (
                f"{page.name}: say whether this runs:\n{block[0]}"
            )
            if mark == "runs":
                found.append(Example(language, block["code"]))
        elif language == "json":
            assert found, f"{page.name}: an answer to nothing"
            found[-1].answer = json.loads(block["code"])
    return found


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=lambda page: page.name)
def test_every_example_of_a_page_runs_and_answers_as_shown(page: Path, digits: Almanac, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(digits.data)
    (tmp_path / "run.py").symlink_to(ROOT / "run.py")
    script = ["set -euo pipefail"]
    blocks = examples(page)
    for number, example in enumerate(blocks):
        code = example.code.replace("http://127.0.0.1:8000", digits.url)
        code = code.replace("curl -sf", "curl --fail-with-body -s")  # so that a failure can be read
        if example.language == "python":
            (tmp_path / f"block{number}.py").write_text(code)
            code = f"python block{number}.py"
        script.append(f"{{ echo 'block {number}' >&2\n{code}\n}} > {tmp_path}/{number}.out")
    python = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={
            "PATH": f"{python}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "ALMANAC_LOG_LEVEL": "warning",
        },
        capture_output=True,
        text=True,
        timeout=200,
    )
    written = sorted(tmp_path.glob("*.out"), key=lambda path: int(path.stem))
    assert done.returncode == 0, done.stderr + written[-1].read_text()
    for number, example in enumerate(blocks):
        if example.answer is not None:
            last = (tmp_path / f"{number}.out").read_text().strip().splitlines()[-1]
            came = json.loads(last)
            assert shape(came) == shape(example.answer), f"{page.name}, block {number}: {last}"


def shape(value: Any) -> Any:
    """The keys and kinds of a JSON value; a list of numbers is that, however long."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        kinds = [shape(item) for item in value]
        return ["number"] if kinds and all(kind == "number" for kind in kinds) else kinds
    if isinstance(value, bool) or value is None:
        return value
    return "number" if isinstance(value, (int, float)) else "string"


def test_every_setting_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"^\| `(ALMANAC_\w+)` \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE))
    assert documented == {f"ALMANAC_{name.upper()}" for name in Settings.model_fields}


def test_every_link_leads_somewhere() -> None:
    for page in ALL_PAGES:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in ALL_PAGES for name in re.findall(r"`make ([a-z-]+)`", page.read_text())}
    assert {"run", "setup", "test", "lint"} <= named
    assert named <= targets
