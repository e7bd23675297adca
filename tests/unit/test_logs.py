"""Which style the log has: for people where they try the demo or look at a terminal, unless a setting says."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from cli.options import settings_or_exit
from settings import ENV_FILE


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    """What is set up here is of no other test."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.skipif(ENV_FILE.exists(), reason="there are settings in .env")
@pytest.mark.parametrize(
    ("given", "style", "found"),
    [(None, None, "json"), (None, "console", "console"), ("json", "console", "json"), ("console", None, "console")],
)
def test_a_setting_wins_over_the_demo_and_the_demo_over_what_is_no_terminal(
    given: str | None, style: str | None, found: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if given is not None:
        monkeypatch.setenv("ALMANAC_LOG_FORMAT", given)
    settings = settings_or_exit(style=style)  # type: ignore[arg-type]
    assert settings.log_format == (given or style)
    logging.getLogger("almanac").info("a line")
    line = capfd.readouterr().err
    if found == "json":
        assert json.loads(line)["message"] == "a line"
    else:
        assert line.endswith("INFO    a line\n")
