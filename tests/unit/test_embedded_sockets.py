"""Where the socket goes: with the data, or to a private directory where that path cannot be used."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.database.embedded import EmbeddedError, sockets
from ml.database.embedded.sockets import place_socket, private_directory, tidy_socket

LONG = Path("/data") / ("d" * 150)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short XDG_RUNTIME_DIR; pytest's own directories may be too long for a socket."""
    directory = Path(tempfile.mkdtemp(prefix="alm-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    yield directory
    shutil.rmtree(directory)


def test_with_the_data() -> None:
    assert place_socket(Path("/srv/almanac/data")) == Path("/srv/almanac/data/mongod.sock")


@pytest.mark.parametrize("length", [100, 101])
def test_the_limit_is_in_bytes_of_the_whole_path(runtime: Path, length: int) -> None:
    data = Path("/" + "d" * (length - len("//mongod.sock")))
    path = place_socket(data)
    assert (path.parent == data) == (length <= 100)


@pytest.mark.parametrize("name", ["a,b", "a:b", "a b", "daté", "a%b", "Data"])
def test_not_with_data_whose_name_mongod_or_a_client_would_misread(runtime: Path, name: str) -> None:
    assert place_socket(Path("/srv") / name).parent.parent == runtime


def test_runtime_directory_is_private_steady_and_of_one_data_directory(runtime: Path) -> None:
    before = os.umask(0)
    try:
        path = place_socket(LONG)
    finally:
        os.umask(before)
    assert path.parent.parent == runtime
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert place_socket(LONG) == path
    assert place_socket(LONG / "other") != path


def test_without_a_runtime_directory_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("", "relative", "/nowhere/at/all", "/etc/passwd"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", given)
        path = place_socket(LONG)
        shared = Path(f"/tmp/almanac-{os.getuid()}")
        assert path.parent.parent == shared
        assert stat.S_IMODE(shared.stat().st_mode) == 0o700
        assert len(os.fsencode(path)) <= sockets.LONGEST
        tidy_socket(LONG, path)
        assert not path.parent.exists()


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = tmp_path / "planted"
    planted.mkdir(mode=0o700)
    another = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: another)
    with pytest.raises(EmbeddedError, match="not a directory of this user") as raised:
        private_directory(planted)
    assert str(planted) in str(raised.value)


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(EmbeddedError):
        private_directory(tmp_path / "link")


def test_a_mode_too_wide_is_put_right(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir(mode=0o755)
    assert stat.S_IMODE(private_directory(tmp_path / "ours").stat().st_mode) == 0o700


def test_tidying_leaves_the_data_directory(tmp_path: Path) -> None:
    tidy_socket(tmp_path, tmp_path / "mongod.sock")
    assert tmp_path.is_dir()
