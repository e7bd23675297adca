"""Secrets of a data directory: private, whole, and made once."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ml.database.embedded.files import made_once, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_written_privately_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "secret", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "secret").read_text() == "text"
    assert mode(tmp_path / "secret") == 0o600


def test_replaces_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, "a long first text")
    write_private(path, "second")
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_crash_while_writing_does_not_hinder_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"

    def crash(descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        with pytest.raises(KeyboardInterrupt):
            made_once(path, lambda: "first")
    assert not path.exists(), "a file that is not on disk yet must not be seen under its name"
    assert made_once(path, lambda: "second") == "second"


def test_made_once(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert made_once(path, lambda: "first") == "first"
    assert made_once(path, lambda: "second") == "first"


def test_a_mode_too_wide_is_put_right(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("restored from a backup")
    path.chmod(0o644)
    assert made_once(path, lambda: "new") == "restored from a backup"
    assert mode(path) == 0o600
