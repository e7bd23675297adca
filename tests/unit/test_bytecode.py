"""What builds import is compiled before the first of them, where that was not done and can be."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ml.build import bytecode


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of Keras; the file whose bytecode is looked for."""
    export = tmp_path / "keras" / "src" / "export" / "__init__.py"
    export.parent.mkdir(parents=True)
    export.touch()
    spec = SimpleNamespace(origin=str(tmp_path / "keras" / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    return export


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    made: list[list[str]] = []

    def run(command: list[str], **_: Any) -> None:
        made.append(command)

    monkeypatch.setattr(subprocess, "run", run)
    bytecode.prepare.cache_clear()
    yield made
    bytecode.prepare.cache_clear()


def test_it_is_compiled_once(package: Path, runs: list[list[str]]) -> None:
    bytecode.prepare()
    bytecode.prepare()
    assert [command[:3] for command in runs] == [[sys.executable, "-I", "-c"]]


def test_what_is_there_is_not_made_again(package: Path, runs: list[list[str]]) -> None:
    compiled = Path(importlib.util.cache_from_source(str(package)))
    compiled.parent.mkdir()
    compiled.touch()
    bytecode.prepare()
    assert not runs


def test_nor_what_cannot_be_kept(package: Path, runs: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode.os, "access", lambda *_: False)
    bytecode.prepare()
    assert not runs


def test_the_program_imports_what_a_build_does() -> None:
    compile(bytecode._PROGRAM, "program", "exec")
    assert "keras.export" in bytecode._PROGRAM
