"""The embedded MongoDB in awkward places, with an awkward program, and what a person is told then."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from ml.database.embedded import EmbeddedError, EmbeddedMongo, running_uri
from ml.database.embedded import mongo as embedded_mongo
from ml.database.embedded.binary import find_mongod, version_of
from tests.integration.embedded.databases import up


def collection(uri: str) -> Any:
    client: MongoClient[dict[str, Any]] = MongoClient(uri, serverSelectionTimeoutMS=5000)
    return client.almanac.inputs


def keep_one(data_dir: Path) -> str:
    with up(data_dir):
        uri = running_uri(data_dir)
        assert uri is not None
        inputs = collection(uri)
        inputs.insert_one({"_id": 1})
        inputs.database.client.close()
    return uri


def assert_kept(uri: str | None) -> None:
    assert uri is not None
    inputs = collection(uri)
    assert inputs.find_one() == {"_id": 1}
    inputs.insert_one({"_id": 2})  # a writable primary, not only a readable one
    inputs.database.client.close()


def test_moved(data_dir: Path) -> None:
    before = keep_one(data_dir / "before")
    with EmbeddedMongo(data_dir / "before"):
        pass  # and stopped cleanly
    (data_dir / "before").rename(data_dir / "after")
    with up(data_dir / "after"):
        after = running_uri(data_dir / "after")
        assert after != before
        assert_kept(after)


def test_a_copy_beside_the_running_original(data_dir: Path) -> None:
    """Both believe at first to be the member that the set names."""
    keep_one(data_dir / "original")
    shutil.copytree(data_dir / "original", data_dir / "copy", ignore=shutil.ignore_patterns("*.sock"))
    with up(data_dir / "original"), up(data_dir / "copy"):
        assert_kept(running_uri(data_dir / "copy"))
        assert_kept(running_uri(data_dir / "original"))


def test_a_path_too_long_for_a_socket(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = data_dir / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    data_dir = data_dir / ("d" * (150 - len(str(data_dir)) - 1))
    assert len(str(data_dir)) == 150
    with up(data_dir):
        uri = running_uri(data_dir)
        assert uri is not None
        assert len(list(runtime.glob("almanac-*/mongod.sock"))) == 1
        assert not (data_dir / "mongod.sock").exists()
        collection(uri).insert_one({"_id": 1})
    assert list(runtime.iterdir()) == [], "nothing is left there"

    # Without that directory the socket has to go elsewhere; the set is told.
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    with up(data_dir):
        elsewhere = running_uri(data_dir)
        assert elsewhere is not None
        assert f"%2Ftmp%2Falmanac-{os.getuid()}%2F" in elsewhere
        assert_kept(elsewhere)


@pytest.mark.parametrize("name", ["a,b: c%ä", "Data"])
def test_a_path_that_mongod_or_a_client_would_misread(data_dir: Path, name: str) -> None:
    data_dir = data_dir / name
    keep_one(data_dir)
    with up(data_dir):
        assert_kept(running_uri(data_dir))


def test_through_a_link_and_relative(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data_dir / "link").symlink_to(data_dir / "data")
    (data_dir / "data").mkdir()
    monkeypatch.chdir(data_dir)
    with up(Path("link")):
        assert running_uri(data_dir / "data") == running_uri(Path("link")) is not None


def test_files_of_a_newer_version(data_dir: Path) -> None:
    keep_one(data_dir)
    ours = version_of(find_mongod())
    assert (data_dir / "mongod.version").read_text().strip() == str(ours)
    (data_dir / "mongod.version").write_text(f"{ours.major + 1}.2.3\n")
    with pytest.raises(EmbeddedError) as raised:
        EmbeddedMongo(data_dir).start()
    assert f"{ours.major + 1}.2.3" in str(raised.value)
    assert str(ours) in str(raised.value)
    (data_dir / "mongod.version").write_text(f"{ours.major}.{ours.minor}.0\n")
    with up(data_dir):
        assert_kept(running_uri(data_dir))
        assert (data_dir / "mongod.version").read_text().strip() == str(ours)


def test_a_port_that_is_taken(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(EmbeddedError) as raised:
        EmbeddedMongo(data_dir, port=taken.getsockname()[1]).start()
    for word in ("Address already in use", "ALMANAC_EMBEDDED_PORT", "mongod.log"):
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)
    keep_one(data_dir)


def test_damaged_files(data_dir: Path) -> None:
    keep_one(data_dir)
    (data_dir / "db" / "WiredTiger.turtle").write_bytes(b"junk")
    with pytest.raises(EmbeddedError, match=r"WiredTiger\.turtle"):
        EmbeddedMongo(data_dir).start()


def test_a_directory_that_cannot_be_made(data_dir: Path) -> None:
    (data_dir / "file").touch()
    with pytest.raises(EmbeddedError, match="ALMANAC_DATA_DIR"):
        EmbeddedMongo(data_dir / "file" / "data").start()


def test_a_program_that_cannot_run(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mongod on PATH is taken, and named where it does not run; the directory is free afterwards."""
    program = data_dir / "mongod"
    program.write_text(
        "#!/bin/sh\n"
        "echo 'mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file' >&2\n"
        "exit 127\n"
    )
    program.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{data_dir}:{os.environ['PATH']}")
        with pytest.raises(EmbeddedError, match=f"{program} .*apt-get install libcurl4"):
            EmbeddedMongo(data_dir / "data").start()
    keep_one(data_dir / "data")


def test_a_log_that_grew_is_put_aside(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with up(data_dir):
        pass
    first = (data_dir / "mongod.log").read_text()
    with up(data_dir):
        pass
    assert (data_dir / "mongod.log").read_text().startswith(first), "appended to"
    monkeypatch.setattr(embedded_mongo, "LOG_LIMIT", 1000)
    with up(data_dir):
        pass
    assert (data_dir / "mongod.log.1").read_text().startswith(first)
    assert not (data_dir / "mongod.log").read_text().startswith(first)
