"""Which tests xdist gives to one process, and in which order: what shares a server together, the longest first."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

#: Files that use one server, or Keras in the tests' own process: to have that takes longer than most tests.
TOGETHER = {
    "digits": (
        "tests/end_to_end/test_commands.py",
        "tests/end_to_end/test_console.py",
        "tests/end_to_end/test_docs.py",
        "tests/end_to_end/test_generated_client.py",
    ),
    "faults": ("tests/faults/",),
    "keras": (
        "tests/integration/test_build.py",
        "tests/integration/test_differential.py",
        "tests/integration/test_executor_tf.py",
        "tests/integration/test_hostile_models.py",
        "tests/integration/test_ways_served.py",
    ),
}
#: What takes more than twenty seconds, by how long it does: one of these at the end would leave the other cores idle.
LONGEST = (
    "digits",
    "tests/integration/test_model_kinds.py",
    "faults",
    "keras",
    "tests/end_to_end/test_make_run.py",
    "tests/end_to_end/test_hostile_models.py",
    "tests/integration/test_schemathesis.py",
    "tests/end_to_end/test_builds.py",
    "tests/end_to_end/test_pages.py",
    "tests/end_to_end/test_under_load.py",
    "tests/end_to_end/test_console_jobs.py",
)


def unit(nodeid: str) -> str:
    """What a test stays with: its file, or the files that share something."""
    file = nodeid.partition("::")[0]
    return next((name for name, files in TOGETHER.items() if file.startswith(files)), file)


class Units(LoadFileScheduling):  # type: ignore[misc]
    """`--dist loadfile` by units, in the order of the tests."""

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Units | None:
    """Only for `--dist loadfile`, which would begin with the files that have the most tests, not the longest."""
    if config.option.dist != "loadfile":
        return None
    config.option.loadscopereorder = False
    return Units(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In xdist's processes alone: elsewhere tests run in the order in which they are asked for."""
    if hasattr(config, "workerinput"):
        order = {name: number for number, name in enumerate(LONGEST)}
        items.sort(key=lambda item: order.get(unit(item.nodeid), len(order)))
