"""Fixtures of the tests that need a real mongod."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.database.client import database_of
from ml.executors.stub import StubExecutor
from ml.service import Limits, Service
from tests.integration.rest import Client


@pytest.fixture
def serve(client: Client, stub: Callable[..., Any]) -> Callable[..., Any]:
    """Registers a stub model."""

    def add(**kwargs: Any) -> Any:
        return stub(client, **kwargs)

    return add


@pytest.fixture
def inputs(client: Client) -> Any:
    """The collection."""
    return database_of(client)["inputs"]


class Gate:
    """Notes each load of a stub version by what it adds (100.0: version 1 ...), and holds those back that are shut."""

    def __init__(self) -> None:
        self.loads: list[int] = []
        self._shut: dict[int, threading.Event] = {}

    def shut(self, *versions: int) -> None:
        """Let no load of these end until they are opened."""
        self._shut.update({version: threading.Event() for version in versions})

    def open(self, *versions: int) -> None:
        """Let these go on; without any, all."""
        for version in versions or self._shut:
            self._shut[version].set()

    def pass_by(self, version: int) -> None:
        self.loads.append(version)
        if version in self._shut:
            assert self._shut[version].wait(30)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Of every load of a stub in this process."""
    made = Gate()
    real = StubExecutor.load.__func__  # type: ignore[attr-defined]

    def load(cls: Any, artefact: Path, *args: Any, **kwargs: Any) -> Any:
        made.pass_by(round(json.loads((artefact / "stub.json").read_text()).get("add", 0) / 100))
        return real(cls, artefact, *args, **kwargs)

    monkeypatch.setattr(StubExecutor, "load", classmethod(load))
    yield made
    made.open()


@pytest.fixture
def replica(client: Client, tmp_path: Path, gate: Gate) -> Iterator[Callable[..., Service]]:
    """Makes services on the same database, as many processes have them; the argument: versions beyond the kept ones."""
    made: list[Service] = []

    def make(live_models: int = 8) -> Service:
        cache = tmp_path / f"cache-{len(made)}"
        made.append(Service(database_of(client), cache, serving=Limits(live_models=live_models)))
        return made[-1]

    yield make
    gate.open()
    for service in made:
        service.close()


@pytest.fixture
def service(client: Any, tmp_path: Path) -> Iterator[Service]:
    """A service that is not started: it follows nothing and builds nothing."""
    made = Service(database_of(client), tmp_path / "cache")
    yield made
    made.close()
