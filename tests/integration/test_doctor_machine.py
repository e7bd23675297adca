"""The doctor on what is around the documents: directory, disk, executors, and servers that are no replica set."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ml.database.client import connect, database_of
from ml.database.embedded.binary import find_mongod
from ml.database.embedded.bootstrap import wait_listening
from ml.database.embedded.process import Process
from ml.doctor import examination, executors, place, probe
from ml.doctor.executors import Here, tried
from ml.executors import KINDS
from ml.executors.onnx import OnnxExecutor

GB = 10**9


@pytest.fixture
def start(mongod: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts a mongod with these options, on a socket alone and without users; a client of it."""
    started: list[Any] = []

    def run(*options: str) -> Any:
        socket = Path(f"/tmp/alm-doctor-{tmp_path.stat().st_ino}.sock")
        command = [str(find_mongod()), "--dbpath", str(tmp_path), "--bind_ip", str(socket), "--nounixsocket"]
        process = Process([*command, "--wiredTigerCacheSizeGB", "0.25", *options])
        client = connect(f"mongodb://{str(socket).replace('/', '%2F')}/almanac?directConnection=true")
        started.extend([client.close, lambda: process.stop(0), lambda: socket.unlink(missing_ok=True)])

        def alive() -> None:
            assert process.poll() is None, process.printed()

        wait_listening(socket, alive)
        return client

    yield run
    for end in started:
        end()


def bad(client: Any) -> list[tuple[str, str]]:
    found = examination.of_database(database_of(client), Here())
    return [(one.about, one.found) for one in found if one.level == "WRONG"]


def test_a_standalone_server(start: Callable[..., Any]) -> None:
    about, found = bad(start())[0]
    assert about == "replica set"
    assert found.startswith("it is a standalone server")


def test_a_replica_set_that_was_never_initiated_has_no_primary(start: Callable[..., Any]) -> None:
    assert bad(start("--replSet", "rs0")) == [
        ("replica set", "it was never initiated"),
        ("database", "there is no primary, so nothing can be written; the documents were not looked at"),
    ]


def levels(data: Path, *, embedded: bool = True) -> list[tuple[str, str]]:
    return [(one.level, one.about) for one in place.examine(data, embedded=embedded)]


def test_a_data_directory(tmp_path: Path) -> None:
    assert levels(tmp_path)[0] == ("ok", "data directory")
    assert not list(tmp_path.iterdir())
    assert levels(tmp_path / "none") == [("warning", "data directory")]
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").touch()
    assert levels(tmp_path / "file") == [("WRONG", "data directory")]
    assert levels(Path("/proc"))[0] == ("WRONG", "data directory")  # nobody may write there


@pytest.mark.parametrize(
    ("free", "total", "level"),
    [
        (0.9, 10, "WRONG"),
        (0.9, 1, "WRONG"),
        (1.1, 10, "ok"),
        (4.9, 1000, "warning"),
        (5.1, 1000, "ok"),
        (1.1, 2, "ok"),
        (0, 0, "WRONG"),
    ],
)
def test_free_disk(free: float, total: float, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free * GB, total=total * GB))
    assert place.room(tmp_path).level == level


def test_the_database_has_a_disk_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "db").symlink_to("/dev/shm")
    assert levels(tmp_path).count(("ok", "free disk")) + levels(tmp_path).count(("warning", "free disk")) == 2
    assert len(levels(tmp_path, embedded=False)) == 2


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "its process was ended by SIGILL"),
        ("raise SystemExit('the last word')", "its process ended with code 1: the last word"),
        ("import time; time.sleep(600)", "its process was not done after 2 s"),
        ("print('hello')", "its process said nothing that can be read"),
        ("print('[]')", "its process said nothing that can be read"),
        ("", "its process said nothing that can be read"),
        ('print(\'noise\\n{"problem": null, "packages": {}}\')', None),
    ],
)
def test_what_a_process_does_is_told(code: str, problem: str | None) -> None:
    assert tried(["-c", code], seconds=2).problem == problem


def test_no_setting_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALMANAC_ADMIN_KEY", "secret")
    assert tried(["-c", "import os; assert not [name for name in os.environ if 'ALMANAC' in name]"], silent=True) == (
        executors.Tried(None)
    )


def test_the_executors_of_this_machine() -> None:
    found = {}
    examining = executors.examine()
    try:
        while True:
            one = next(examining)
            found[one.about] = (one.level, one.found.partition(" (")[0])
    except StopIteration as end:
        here = end.value
    assert {found[f"executor {kind}"] for kind in KINDS} == {("ok", "it runs")}
    assert found["builds"] == ("ok", "models can be built here")
    assert here.builds is None
    assert here.executors["onnx"] is here.executors["tf"] is None


@pytest.mark.parametrize(
    ("missing", "warned", "words"),
    [
        ((), [], ""),
        (("isolation",), [], ""),
        (("seccomp",), ["processes of builds"], "can start and signal others"),
        (("landlock",), ["files of builds"], "can read what Almanac's user can (none)"),
        (("isolation", "landlock"), ["files of builds"], "can read and change what Almanac's user can (none)"),
        (("isolation", "seccomp"), ["network of builds", "processes of builds"], "can reach the network (none; none)"),
    ],
)
def test_what_does_not_hold_a_build(
    missing: tuple[str, ...], warned: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def played(arguments: list[str], **_: Any) -> executors.Tried:
        return executors.Tried("none" if Path(arguments[-1]).stem in missing else None)

    monkeypatch.setattr(executors, "tried", played)
    found = [one for one in executors.examine() if one.about.endswith(" of builds")]
    assert [one.about for one in found] == ["network of builds", "files of builds", "processes of builds"]
    assert [one.about for one in found if one.level == "warning"] == warned
    assert words in " ".join(one.found for one in found if one.level == "warning")


def test_one_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxExecutor, "needs", ("no_such_package",))
    answer = probe.main("onnx")
    assert answer["problem"] == "no_such_package is not installed"
    assert answer["missing"]


def test_one_that_computes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def run(self, inputs: Any) -> Any:
            return {"y": inputs["x"]}

        def close(self) -> None: ...

    monkeypatch.setattr(probe, "load_executor", lambda *_: Wrong())
    assert probe.main("stub")["problem"] == "it computes wrong: [[1.0, 1.0]] for 1 + 1"
