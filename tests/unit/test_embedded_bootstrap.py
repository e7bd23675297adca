"""Steps of the bootstrap meet a mongod that closes its connections, as it does when its role changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from ml.database.embedded import bootstrap
from ml.database.embedded.errors import EmbeddedError


class Node:
    """As much of a client as the steps use; its first answers are a connection that breaks."""

    def __init__(self, breaks: int) -> None:
        self.admin = self
        self.local = {"system.replset": self}
        self.asked: list[str] = []
        self._breaks = breaks

    def find_one(self) -> dict[str, Any]:
        return {"_id": "almanac", "version": 3, "members": [{"_id": 0, "host": "/elsewhere/mongod.sock"}]}

    def command(self, name: str, *_: Any, **__: Any) -> dict[str, Any]:
        self.asked.append(name)
        if len(self.asked) <= self._breaks:
            raise AutoReconnect("Broken pipe")
        return {"isWritablePrimary": True}


def move(node: Node, alive: Callable[[], None]) -> None:
    bootstrap.ensure_set(node, Path("/here/mongod.sock"), alive)  # type: ignore[arg-type]


def wait(node: Node, alive: Callable[[], None]) -> None:
    bootstrap.wait_primary(node, alive)  # type: ignore[arg-type]


@pytest.mark.parametrize(("step", "command"), [(move, "replSetReconfig"), (wait, "hello")])
def test_it_is_asked_again(step: Callable[[Node, Callable[[], None]], None], command: str) -> None:
    node = Node(breaks=2)
    step(node, lambda: None)
    assert node.asked == [command] * 3


@pytest.mark.parametrize("step", [move, wait])
def test_one_that_has_ended_is_not_waited_for(step: Callable[[Node, Callable[[], None]], None]) -> None:
    def ended() -> None:
        raise EmbeddedError("mongod ended with code 1")

    node = Node(breaks=10)
    with pytest.raises(EmbeddedError, match="ended with code 1"):
        step(node, ended)
    assert len(node.asked) == 1
