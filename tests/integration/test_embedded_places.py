"""The embedded MongoDB in awkward places, with an awkward program, and what a person is told then."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from ml.database.embedded import EmbeddedError, EmbeddedMongo, running_uri
from ml.database.embedded import mongo as embedded_mongo
from ml.database.embedded.binary import find_mongod, version_of


@pytest.fixture(scope="module", autouse=True)
def _mongod() -> None:
    try:
        find_mongod()
    except EmbeddedError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def place() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="alm-"))
    yield directory
    shutil.rmtree(directory)


@contextmanager
def up(data_dir: Path) -> Iterator[EmbeddedMongo]:
    """Killed at the end: a clean stop takes a second, and what was acknowledged must outlive this too."""
    mongo = EmbeddedMongo(data_dir)
    mongo.start()
    try:
        yield mongo
    finally:
        mongo.stop(timeout=0)


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


def test_moved(place: Path) -> None:
    before = keep_one(place / "before")
    with EmbeddedMongo(place / "before"):
        pass  # and stopped cleanly
    (place / "before").rename(place / "after")
    with up(place / "after"):
        after = running_uri(place / "after")
        assert after != before
        assert_kept(after)


def test_a_copy_beside_the_running_original(place: Path) -> None:
    """Both believe at first to be the member that the set names."""
    keep_one(place / "original")
    shutil.copytree(place / "original", place / "copy", ignore=shutil.ignore_patterns("*.sock"))
    with up(place / "original"), up(place / "copy"):
        assert_kept(running_uri(place / "copy"))
        assert_kept(running_uri(place / "original"))


def test_a_path_too_long_for_a_socket(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = place / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    data_dir = place / ("d" * (150 - len(str(place)) - 1))
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


def test_a_path_that_mongod_would_misread(place: Path) -> None:
    data_dir = place / "a,b: c%ä"
    keep_one(data_dir)
    with up(data_dir):
        assert_kept(running_uri(data_dir))


def test_through_a_link_and_relative(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "link").symlink_to(place / "data")
    (place / "data").mkdir()
    monkeypatch.chdir(place)
    with up(Path("link")):
        assert running_uri(place / "data") == running_uri(Path("link")) is not None


def test_files_of_a_newer_version(place: Path) -> None:
    keep_one(place)
    ours = version_of(find_mongod())
    assert (place / "mongod.version").read_text().strip() == str(ours)
    (place / "mongod.version").write_text(f"{ours.major + 1}.2.3\n")
    with pytest.raises(EmbeddedError) as raised:
        EmbeddedMongo(place).start()
    assert f"{ours.major + 1}.2.3" in str(raised.value)
    assert str(ours) in str(raised.value)
    (place / "mongod.version").write_text(f"{ours.major}.{ours.minor}.0\n")
    with up(place):
        assert_kept(running_uri(place))
        assert (place / "mongod.version").read_text().strip() == str(ours)


def test_a_port_that_is_taken(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(EmbeddedError) as raised:
        EmbeddedMongo(place, port=taken.getsockname()[1]).start()
    for word in ("Address already in use", "ALMANAC_EMBEDDED_PORT", "mongod.log"):
        assert word in str(raised.value)
    assert "\n" not in str(raised.value)
    keep_one(place)


def test_damaged_files(place: Path) -> None:
    keep_one(place)
    (place / "db" / "WiredTiger.turtle").write_bytes(b"junk")
    with pytest.raises(EmbeddedError, match=r"WiredTiger\.turtle"):
        EmbeddedMongo(place).start()


def test_a_directory_that_cannot_be_made(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(EmbeddedError, match="ALMANAC_DATA_DIR"):
        EmbeddedMongo(place / "file" / "data").start()


def test_a_program_that_cannot_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mongod on PATH is taken, and named where it does not run; the directory is free afterwards."""
    program = place / "mongod"
    program.write_text(
        "#!/bin/sh\n"
        "echo 'mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file' >&2\n"
        "exit 127\n"
    )
    program.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{place}:{os.environ['PATH']}")
        with pytest.raises(EmbeddedError, match=f"{program} .*apt-get install libcurl4"):
            EmbeddedMongo(place / "data").start()
    keep_one(place / "data")


def test_a_log_that_grew_is_put_aside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with up(place):
        pass
    first = (place / "mongod.log").read_text()
    with up(place):
        pass
    assert (place / "mongod.log").read_text().startswith(first), "appended to"
    monkeypatch.setattr(embedded_mongo, "LOG_LIMIT", 1000)
    with up(place):
        pass
    assert (place / "mongod.log.1").read_text().startswith(first)
    assert not (place / "mongod.log").read_text().startswith(first)
