"""One Almanac with the digits demo, for all end-to-end tests that only ask it things; and a browser, and its pages."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.conftest import Api
from tests.end_to_end.almanac import ROOT, Almanac, free_port
from tests.end_to_end.browser import chromium, served


@pytest.fixture(scope="package")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Almanac]:
    """Made by `run.py demo` on its own, with neither server nor worker; then served."""
    data = tmp_path_factory.mktemp("digits") / "data"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ALMANAC_")}
    demo = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "demo"],
        env={**kept, "ALMANAC_DATA_DIR": str(data), "ALMANAC_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "(360 stored results)" in demo.stdout
    almanac = Almanac(Path(data), free_port())
    almanac.wait_for("^Almanac serves at")
    yield almanac
    almanac.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def api(client: Any, make_api: Callable[..., Api]) -> Api:
    """An app whose pages can be logged in to."""
    return make_api(client, secret_key="a secret of tests, which is long enough")


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    """Where its pages are."""
    with served(api.http.application) as url:
        yield url
