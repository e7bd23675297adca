"""Unpacking of stored directories: what is there comes out, what would leave the directory does not."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from ml.database.blobs import unpack


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> tarfile.TarFile:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    file.seek(0)
    return tarfile.open(fileobj=file)


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_a_directory_comes_out_as_it_went_in(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    (source / "variables").mkdir(parents=True)
    (source / "saved_model.pb").write_bytes(b"model")
    (source / "variables" / "data").write_bytes(b"")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.add(source, arcname=".")
    file.seek(0)
    target.mkdir()
    with tarfile.open(fileobj=file) as tar:
        unpack(tar, target)
    found = {path.relative_to(target).as_posix(): path.is_file() and path.read_bytes() for path in target.rglob("*")}
    assert found == {"saved_model.pb": b"model", "variables": False, "variables/data": b""}


@pytest.mark.parametrize(
    "info",
    [
        entry("../out-of-it"),
        entry("a/../../out-of-it"),
        entry("/tmp/almanac-out-of-it"),
        entry("link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("link", tarfile.LNKTYPE, "../secret"),
        entry("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name}-{info.type.decode()}",
)
def test_what_would_leave_the_directory_is_refused(info: tarfile.TarInfo, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with archive((info, b"")) as tar, pytest.raises(tarfile.TarError, match="no plain file"):
        unpack(tar, target)
    assert list(target.iterdir()) == []
    assert not (tmp_path / "out-of-it").exists()
