"""What pytest does with the recorded traffic: an undocumented answer fails its test; what was never seen is listed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.recorded.client import RECORDER
from tests.recorded.described import Answer

#: What workers of pytest-xdist have told when they ended.
_SEEN: set[Answer] = set()
_DOCUMENTED: set[Answer] = set()


class Undocumented(AssertionError):
    """Traffic that the OpenAPI document does not tell of."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail the test that met what is not documented; one that failed by itself shows both."""
    RECORDER.bodies = item.get_closest_marker("shown_as_stored") is None
    try:
        result = yield
    except BaseException:
        if problems := RECORDER.take():
            item.add_report_section("call", "undocumented traffic", "\n".join(problems))
        raise
    _raise_problems()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, Any, Any]:
    """The same for what fixtures ask when a test has ended."""
    result = yield
    _raise_problems()
    return result


def _raise_problems() -> None:
    if problems := RECORDER.take():
        raise Undocumented(f"traffic that is not in the OpenAPI document ({len(problems)}):\n" + "\n".join(problems))


def pytest_configure(config: pytest.Config) -> None:
    """Explain the marker."""
    config.addinivalue_line(
        "markers", "shown_as_stored: other programs' documents are answered as they are; no body is compared"
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Gather what this process saw; a worker of pytest-xdist tells it to the one that started it."""
    documented = RECORDER.described.answers() if RECORDER.described else set()
    output = getattr(session.config, "workeroutput", None)
    if output is None:
        _SEEN.update(RECORDER.seen)
        _DOCUMENTED.update(documented)
    else:
        output["traffic"] = [sorted(RECORDER.seen), sorted(documented)]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take in what a worker saw; one that crashed has told nothing."""
    seen, documented = getattr(node, "workeroutput", {}).get("traffic", ((), ()))
    _SEEN.update(tuple(answer) for answer in seen)
    _DOCUMENTED.update(tuple(answer) for answer in documented)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """After a run of all tests: the documented answers that none of them met, but for defects."""
    whole = config.args_source == pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword
    if whole and (missing := sorted(answer for answer in _DOCUMENTED - _SEEN if answer[2] != 500)):
        terminalreporter.section(f"documented answers that no test met ({len(missing)})")
        for method, path, status in missing:
            terminalreporter.line(f"{method} {path} -> {status}")
